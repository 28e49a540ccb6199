using LongCtx.Engine.Files;

namespace LongCtx.Engine.Cache;

/// <summary>What a KV block consists of.</summary>
public enum KvPart
{
    /// <summary>[layers, heads, d, 64] halves.</summary>
    Keys,

    /// <summary>[layers, heads, 64, v] halves.</summary>
    Values,

    /// <summary>[layers, heads, 64] floats, added to the scores; most blocks have none.</summary>
    Biases,
}

/// <summary>Names the numbers in a runner's KV blocks. What was computed under one layout is of no use under another.</summary>
/// <param name="Name">Changes with everything that gives other numbers for the same tokens: their order in a block, and the arithmetic.</param>
/// <param name="KeyDimension">d.</param>
/// <param name="ValueDimension">v: d, or more where rows are padded.</param>
public sealed record KvLayout(string Name, int Layers, int Heads, int KeyDimension, int ValueDimension)
{
    const int Size = BlockPool.BlockSize;

    public TensorType TypeOf(KvPart part) => part == KvPart.Biases ? TensorType.F32 : TensorType.F16;

    /// <summary>Of one block, outermost first.</summary>
    public long[] ShapeOf(KvPart part) => part switch
    {
        KvPart.Keys => [Layers, Heads, KeyDimension, Size],
        KvPart.Values => [Layers, Heads, Size, ValueDimension],
        _ => [Layers, Heads, Size],
    };

    /// <summary>Bytes of one block.</summary>
    public int BytesOf(KvPart part) => checked((int)TypeOf(part).ByteLength(ShapeOf(part).Aggregate(1L, (a, b) => a * b)));

    /// <summary>Zeroes the slots of one block outside [<paramref name="from"/>, <paramref name="end"/>): what another sequence left there is nobody's business.</summary>
    public void ClearOutside(Span<byte> block, KvPart part, int from, int end)
    {
        int slot = part switch { KvPart.Keys => sizeof(ushort), KvPart.Values => ValueDimension * sizeof(ushort), _ => sizeof(float) };
        if (from <= 0 && end >= Size) return;
        for (int row = 0; row < block.Length; row += Size * slot)
        {
            block.Slice(row, from * slot).Clear();
            block[(row + end * slot)..(row + Size * slot)].Clear();
        }
    }
}
