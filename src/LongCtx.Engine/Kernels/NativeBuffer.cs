using System.Runtime.InteropServices;

namespace LongCtx.Engine.Kernels;

/// <summary>Zeroed memory outside the garbage collector, aligned to a cache line.</summary>
internal sealed unsafe partial class NativeBuffer : SafeHandle
{
    const nuint CacheLine = 64, HugePage = 2 << 20;
    const int MadviseHugePage = 14;

    public NativeBuffer(nuint bytes) : base(0, ownsHandle: true)
    {
        Bytes = Math.Max(bytes, CacheLine);
        bool huge = Bytes >= 2 * HugePage;
        Pointer = (byte*)NativeMemory.AlignedAlloc(Bytes, huge ? HugePage : CacheLine);
        SetHandle((nint)Pointer);
        // Weights are streamed once per token: 2 MB pages save most page walks, and most page faults at load. A refusal does no harm.
        if (huge && OperatingSystem.IsLinux()) _ = Madvise(Pointer, Bytes, MadviseHugePage);
        NativeMemory.Clear(Pointer, Bytes);
    }

    public byte* Pointer { get; }

    public nuint Bytes { get; }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMemory.AlignedFree((void*)handle);
        return true;
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int Madvise(byte* address, nuint length, int advice);
}
