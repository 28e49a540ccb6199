using System.Runtime.InteropServices;

namespace LongCtx.Engine.Kernels;

/// <summary>
/// Memory in 2 MB pages where the system has them. Weights are streamed once per token, and page walks cost a fifth of that with 4 KB pages
/// (22 instead of 29 GB/s on the reference machine). Most matrices are smaller than such a page, so they share chunks; a chunk is freed with
/// its last piece.
/// </summary>
internal static unsafe partial class HugePages
{
    const nuint PageBytes = 2 << 20, ChunkBytes = 32 << 20, PieceAlignment = 64;
    const int MadviseHugePage = 14;

    static readonly Lock s_gate = new();
    static Chunk? s_open;

    internal sealed class Chunk(byte* start)
    {
        public byte* Start { get; } = start;

        public nuint Used { get; set; }

        public int Pieces { get; set; }
    }

    /// <summary>Memory with any content, aligned to a cache line; goes back with its chunk.</summary>
    public static byte* Rent(nuint bytes, out Chunk chunk)
    {
        bytes = (bytes + PieceAlignment - 1) & ~(PieceAlignment - 1);
        if (bytes >= ChunkBytes / 2)
        {
            chunk = new Chunk(Allocate(bytes)) { Used = bytes, Pieces = 1 };
            return chunk.Start;
        }
        lock (s_gate)
        {
            if (s_open is null || s_open.Used + bytes > ChunkBytes)
            {
                Chunk? full = s_open;
                s_open = new Chunk(Allocate(ChunkBytes));
                if (full is { Pieces: 0 }) NativeMemory.AlignedFree(full.Start);
            }
            chunk = s_open;
            chunk.Pieces++;
            byte* piece = chunk.Start + chunk.Used;
            chunk.Used += bytes;
            return piece;
        }
    }

    public static void Return(Chunk chunk)
    {
        lock (s_gate)
        {
            if (--chunk.Pieces > 0) return;
            if (chunk == s_open) chunk.Used = 0;
            else NativeMemory.AlignedFree(chunk.Start);
        }
    }

    static byte* Allocate(nuint bytes)
    {
        byte* memory = (byte*)NativeMemory.AlignedAlloc(bytes, PageBytes);
        if (OperatingSystem.IsLinux()) _ = Madvise(memory, bytes, MadviseHugePage); // a wish: a refusal does no harm
        return memory;
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int Madvise(byte* address, nuint length, int advice);
}
