using System.Runtime.InteropServices;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Cpu;

/// <summary>
/// Keys and values behind the ids of a <see cref="BlockPool"/>. Memory is allocated in slabs of a few
/// blocks when their first block is used, and kept for the next owner.
/// <code>
///   block: for each layer, for each KV head:  K [d][64] halves, V [64][v] halves, bias [64] floats (v = d rounded up to 16)
/// </code>
/// </summary>
internal sealed unsafe class KvMemory(int blockCount, int layers, int heads, int headDimension) : IDisposable
{
    const int BlockSize = BlockPool.BlockSize;
    const long SlabBytesMin = 8 << 20; // several large pages, little enough to grow by
    readonly NativeBuffer?[] _slabs = new NativeBuffer?[(blockCount + SlabBlocks(layers, heads, headDimension) - 1) / SlabBlocks(layers, heads, headDimension)];
    readonly int _blocksPerSlab = SlabBlocks(layers, heads, headDimension);
    readonly bool[] _biased = new bool[blockCount];

    public int ValueDimension { get; } = (headDimension + 15) / 16 * 16;

    public int KeyBytes { get; } = headDimension * BlockSize * sizeof(ushort);

    int ValueBytes => ValueDimension * BlockSize * sizeof(ushort);

    public int HeadBytes => KeyBytes + ValueBytes + BlockSize * sizeof(float);

    public long BlockBytes { get; } = BytesPerBlock(layers, heads, headDimension);

    public static long BytesPerBlock(int layers, int heads, int headDimension)
    {
        int valueDimension = (headDimension + 15) / 16 * 16;
        return (long)layers * heads * BlockSize * ((headDimension + valueDimension) * sizeof(ushort) + sizeof(float));
    }

    static int SlabBlocks(int layers, int heads, int headDimension) => (int)(SlabBytesMin / BytesPerBlock(layers, heads, headDimension)) + 1;

    /// <summary>First byte of a block; its memory is zero when it is used for the first time, and finite numbers ever after.</summary>
    public byte* Block(int id)
    {
        NativeBuffer slab = _slabs[id / _blocksPerSlab] ??= new((nuint)(BlockBytes * _blocksPerSlab));
        return slab.Pointer + id % _blocksPerSlab * BlockBytes;
    }

    public void Copy(int source, int destination)
    {
        NativeMemory.Copy(Block(source), Block(destination), (nuint)BlockBytes);
        _biased[destination] = _biased[source];
    }

    /// <summary>Offset of a head's keys inside a block; its values follow after <see cref="KeyBytes"/>, its bias after those.</summary>
    public long HeadOffset(int layer, int head) => ((long)layer * heads + head) * HeadBytes;

    public int BiasOffset => KeyBytes + ValueBytes;

    /// <summary>Whether some key of the block may carry a bias; the others, which is nearly all, skip reading it.</summary>
    public bool IsBiased(int id) => _biased[id];

    public void MarkBiased(int id) => _biased[id] = true;

    /// <summary>Sets the bias added to the score of one key, in nats. Writing a key anew sets it back to 0.</summary>
    public void SetBias(int id, int layer, int head, int slot, float bias)
    {
        *((float*)(Block(id) + HeadOffset(layer, head) + BiasOffset) + slot) = bias * VectorMath.Log2E;
        _biased[id] = true;
    }

    /// <summary>[layers, heads] pieces of one kind, back to back.</summary>
    public void Read(int id, KvPart part, Span<byte> destination)
    {
        (int offset, int bytes) = InHead(part);
        byte* head = Block(id) + offset;
        for (int at = 0; at < destination.Length; at += bytes, head += HeadBytes) new ReadOnlySpan<byte>(head, bytes).CopyTo(destination[at..]);
    }

    /// <summary>The same the other way. Keys come first: a block that gets new ones has no bias until it gets those too.</summary>
    public void Write(int id, KvPart part, ReadOnlySpan<byte> source)
    {
        (int offset, int bytes) = InHead(part);
        byte* head = Block(id) + offset;
        for (int at = 0; at < source.Length; at += bytes, head += HeadBytes) source.Slice(at, bytes).CopyTo(new(head, bytes));
        if (part == KvPart.Biases) _biased[id] = source.ContainsAnyExcept((byte)0);
        else if (part == KvPart.Keys && _biased[id]) ClearBiases(id);
    }

    void ClearBiases(int id)
    {
        byte* block = Block(id);
        for (long head = 0; head < BlockBytes; head += HeadBytes) new Span<byte>(block + head + BiasOffset, BlockSize * sizeof(float)).Clear();
        _biased[id] = false;
    }

    (int Offset, int Bytes) InHead(KvPart part) => part switch
    {
        KvPart.Keys => (0, KeyBytes),
        KvPart.Values => (KeyBytes, ValueBytes),
        _ => (BiasOffset, BlockSize * sizeof(float)),
    };

    public void Dispose()
    {
        foreach (NativeBuffer? slab in _slabs) slab?.Dispose();
    }
}
