using System.Runtime.InteropServices;

namespace LongCtx.Engine.Cpu;

/// <summary>
/// Zeroed native memory for megabytes at a time, on huge pages where Linux grants them: keys and weights are read in pieces of a few
/// kilobytes all over, and with pages of 4 KiB half of the time goes into address translation.
/// </summary>
internal static unsafe partial class LargeMemory
{
    const nuint HugePage = 2 << 20;
    const int AdviseHugePage = 14; // MADV_HUGEPAGE

    public static byte* Allocate(nuint bytes)
    {
        nuint rounded = (bytes + HugePage - 1) / HugePage * HugePage;
        var memory = (byte*)NativeMemory.AlignedAlloc(rounded, HugePage);
        if (OperatingSystem.IsLinux()) _ = madvise(memory, rounded, AdviseHugePage); // advice: a refusal costs speed only
        NativeMemory.Clear(memory, bytes);
        return memory;
    }

    public static void Free(void* memory) => NativeMemory.AlignedFree(memory);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int madvise(void* address, nuint length, int advice);
}
