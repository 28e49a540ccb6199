using LongCtx.Engine.Files;

namespace LongCtx.Engine.Tests.Files;

/// <summary>The third implementation of the seam: tensors in pinned arrays.</summary>
internal sealed class MemoryModelFile(IEnumerable<TestTensor> tensors) : ModelFile(
    "memory", tensors.ToDictionary(t => t.Name, t => new TensorInfo(t.Name, t.Type, t.Shape, t.Bytes.Length, Offset: 0)),
    new Dictionary<string, UnsupportedTensor>())
{
    readonly Dictionary<string, byte[]> pinned = tensors.ToDictionary(t => t.Name, t =>
    {
        byte[] copy = GC.AllocateUninitializedArray<byte>(t.Bytes.Length, pinned: true);
        t.Bytes.CopyTo(copy, 0);
        return copy;
    });

    bool disposed;

    public override unsafe byte* Data(TensorInfo tensor)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        return (byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref pinned[tensor.Name][0]);
    }

    protected override void Dispose(bool disposing) => disposed = true;
}
