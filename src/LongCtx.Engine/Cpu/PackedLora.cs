using System.Numerics;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Cpu;

/// <summary>A and B of one projection; a pair adds Σ_k B[:, k] factor[k] (A[k, :] x) to the projection's output.</summary>
internal readonly unsafe struct LoraPair(short* a, short* b, float* factors, int rank, int inputs, int stride, int outputs, int firstOutput)
{
    /// <summary>
    /// [blocks of 8 rows, stride / 16, rows of the block, 16] codes: a row of A over its largest magnitude, times 32767, then zeros. The last block
    /// may have fewer rows.
    /// </summary>
    public short* A { get; } = a;

    /// <summary>[panels of 16 outputs, rank, 16] codes: a column is that of B over its largest magnitude, times 32767.</summary>
    public short* B { get; } = b;

    /// <summary>[rank] the scale of the adapter, times what the codes of row k of A and of column k of B were divided by.</summary>
    public float* Factors { get; } = factors;

    public int Rank { get; } = rank;

    public int Inputs { get; } = inputs;

    /// <summary>Columns of A with the zeros.</summary>
    public int Stride { get; } = stride;

    public int Outputs { get; } = outputs;

    /// <summary>Where the projection's rows begin among those of its group.</summary>
    public int FirstOutput { get; } = firstOutput;

    /// <summary>Codes of 16 columns of row <paramref name="k"/>; those of the next 16 lie <paramref name="step"/> further.</summary>
    public short* Row(int k, out int step)
    {
        int block = k / PackedLora.BlockRows * PackedLora.BlockRows;
        step = Math.Min(PackedLora.BlockRows, Rank - block) * PackedLora.Lanes;
        return A + (nint)block * Stride + (k - block) * PackedLora.Lanes;
    }
}

/// <summary>
/// An adapter version as the kernels read it. A step with many adapters streams all of them from memory, and nothing of it is used twice, so
/// the bytes are what it costs: 16-bit integers with a scale for each row of A and each column of B, at most 1/65000 of the row's largest
/// off, in the order of their use, so that a layer is one stream. Sums and activations are float32.
/// </summary>
internal sealed unsafe class PackedLora
{
    /// <summary>Outputs of a panel of B, and columns of A that a register takes.</summary>
    public const int Lanes = 16;

    /// <summary>Rows of A that lie together.</summary>
    public const int BlockRows = 8;

    const int LineCodes = 32; // of a cache line
    const float CodeMax = short.MaxValue;

    public const LoraTargets QueryKeyValue = LoraTargets.Query | LoraTargets.Key | LoraTargets.Value, GateUp = LoraTargets.Gate | LoraTargets.Up;

    readonly NativeBuffer _memory;
    readonly LoraPair[] _pairs; // layer by layer, in the order of the targets: a group's are adjacent
    readonly int _layerPairs;

    /// <exception cref="LongCtxException">A number is not finite.</exception>
    public PackedLora(LoraWeights weights)
    {
        LoraLayout layout = weights.Layout;
        Targets = layout.Targets;
        Rank = layout.Rank;
        _layerPairs = BitOperations.PopCount((uint)Targets);
        nint layerBytes = 0;
        foreach (LoraTargets target in layout.PresentTargets) layerBytes += Bytes(layout, target, out _, out _);
        _memory = new((nuint)layerBytes * (nuint)layout.Config.LayerCount);
        _pairs = new LoraPair[_layerPairs * layout.Config.LayerCount];
        byte* at = _memory.Pointer;
        for (int i = 0; i < _pairs.Length;)
            foreach (LoraTargets target in layout.PresentTargets)
            {
                nint bytes = Bytes(layout, target, out int stride, out nint codesOfA);
                var pair = new LoraPair(
                    (short*)at, (short*)at + codesOfA, (float*)(at + bytes) - PaddedRank(layout), layout.Rank, layout.Inputs(target), stride, layout.Outputs(target), FirstOutput(layout, target));
                Pack(pair, weights.A(i / _layerPairs, target), weights.B(i / _layerPairs, target), layout.Scale);
                _pairs[i++] = pair;
                at += bytes;
            }
    }

    public LoraTargets Targets { get; }

    public int Rank { get; }

    /// <summary>Those of the targets in <paramref name="group"/> that the adapter has.</summary>
    public ReadOnlySpan<LoraPair> Pairs(int layer, LoraTargets group)
    {
        uint before = (uint)Targets & ((1u << BitOperations.TrailingZeroCount((uint)group)) - 1);
        return _pairs.AsSpan(layer * _layerPairs + BitOperations.PopCount(before), BitOperations.PopCount((uint)(Targets & group)));
    }

    /// <summary>Of one pair: A, then B, then the factors, each in whole cache lines.</summary>
    static nint Bytes(LoraLayout layout, LoraTargets target, out int stride, out nint codesOfA)
    {
        stride = (layout.Inputs(target) + Lanes - 1) / Lanes * Lanes;
        nint panels = (layout.Outputs(target) + Lanes - 1) / Lanes;
        codesOfA = WholeLines((nint)layout.Rank * stride);
        return (codesOfA + WholeLines(panels * layout.Rank * Lanes)) * sizeof(short) + PaddedRank(layout) * sizeof(float);

        static nint WholeLines(nint codes) => (codes + LineCodes - 1) / LineCodes * LineCodes;
    }

    static int PaddedRank(LoraLayout layout) => (layout.Rank + Lanes - 1) / Lanes * Lanes;

    static int FirstOutput(LoraLayout layout, LoraTargets target) => target switch
    {
        LoraTargets.Key => layout.Outputs(LoraTargets.Query),
        LoraTargets.Value => layout.Outputs(LoraTargets.Query) + layout.Outputs(LoraTargets.Key),
        LoraTargets.Up => layout.Outputs(LoraTargets.Gate),
        _ => 0,
    };

    static void Pack(in LoraPair pair, ReadOnlySpan<float> a, ReadOnlySpan<float> b, double scale)
    {
        for (int k = 0; k < pair.Rank; k++)
        {
            ReadOnlySpan<float> row = a.Slice(k * pair.Inputs, pair.Inputs);
            float largestA = 0, largestB = 0;
            foreach (float x in row) largestA = Larger(largestA, x);
            for (int o = 0; o < pair.Outputs; o++) largestB = Larger(largestB, b[o * pair.Rank + k]);
            short* codes = pair.Row(k, out int step);
            for (int i = 0; i < row.Length; i++) codes[i / Lanes * step + i % Lanes] = Code(row[i], largestA);
            for (int o = 0; o < pair.Outputs; o++) pair.B[((nint)(o / Lanes) * pair.Rank + k) * Lanes + o % Lanes] = Code(b[o * pair.Rank + k], largestB);
            pair.Factors[k] = (float)(scale * (largestA / (double)CodeMax) * (largestB / (double)CodeMax));
        }
    }

    static float Larger(float largest, float x)
    {
        float magnitude = MathF.Abs(x);
        if (magnitude <= largest) return largest;
        return float.IsFinite(magnitude) ? magnitude : throw new LongCtxException(ErrorCode.InvalidRequest, "the adapter holds a number that is not finite: the training that made it diverged", "adapter");
    }

    static short Code(float x, float largest) => largest == 0 ? (short)0 : (short)MathF.Round((float)(x / (double)largest * CodeMax));
}
