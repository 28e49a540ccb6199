using System.Runtime.InteropServices;

namespace LongCtx.Engine.Kernels;

/// <summary>Zeroed memory outside the garbage collector, aligned to a cache line, in large pages where possible.</summary>
internal sealed unsafe class NativeBuffer : SafeHandle
{
    readonly HugePages.Chunk _chunk;

    public NativeBuffer(nuint bytes) : base(0, ownsHandle: true)
    {
        Bytes = bytes;
        Pointer = HugePages.Rent(bytes, out _chunk);
        SetHandle((nint)Pointer);
        NativeMemory.Clear(Pointer, bytes);
    }

    public byte* Pointer { get; }

    public nuint Bytes { get; }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        HugePages.Return(_chunk);
        return true;
    }
}
