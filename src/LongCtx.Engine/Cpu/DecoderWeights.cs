using System.Runtime.InteropServices;
using LongCtx.Engine.Files;
using LongCtx.Engine.Kernels;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Cpu;

/// <summary>Weights of one layer. Projections that read the same input are stacked: one product instead of three, or two.</summary>
internal sealed unsafe class DecoderLayer
{
    public required float* AttentionNorm { get; init; }      // [hidden]

    public required PackedMatrix QueryKeyValue { get; init; } // [(query + 2 KV heads) × d, hidden]

    public float* QueryKeyValueBias { get; init; }            // [(query + 2 KV heads) × d] or null

    public float* QueryNorm { get; init; }                    // [d] or null (Qwen3)

    public float* KeyNorm { get; init; }                      // [d] or null

    public required PackedMatrix AttentionOutput { get; init; } // [hidden, query heads × d]

    public float* AttentionOutputBias { get; init; }          // [hidden] or null

    public required float* FeedForwardNorm { get; init; }     // [hidden]

    public required PackedMatrix GateUp { get; init; }        // [2 × ffn, hidden]

    public float* GateUpBias { get; init; }                   // [2 × ffn] or null

    public required PackedMatrix Down { get; init; }          // [hidden, ffn]

    public float* DownBias { get; init; }                     // [hidden] or null
}

/// <summary>A decoder's weights, repacked once for the kernels; the embedding table is read from the mapped file row by row.</summary>
internal sealed unsafe class DecoderWeights : IDisposable
{
    readonly ModelSource _source;
    readonly TensorInfo _embedding;
    readonly List<nint> _vectors = [];
    readonly List<PackedMatrix> _matrices = [];
    readonly WorkerPool _workers;
    readonly int[]? _queryOrder, _keyOrder;

    DecoderWeights(ModelSource source, WorkerPool workers)
    {
        _source = source;
        _workers = workers;
        Config = source.Decoder!;
        RopeFrequencies rope = Config.RopeFrequencies(Config.TrainedLength);
        (InverseFrequencies, AttentionScale) = (rope.InverseFrequencies, rope.AttentionScale);
        _embedding = source.Require(TensorSlot.TokenEmbedding);
        OutputNorm = Vector(TensorSlot.OutputNorm, 0);
        (_queryOrder, _keyOrder) = (HeadOrder(Config.QueryHeadCount), HeadOrder(Config.KeyValueHeadCount));
        Output = Pack([OutputSource]);
        Layers = new DecoderLayer[Config.LayerCount];
        for (int i = 0; i < Layers.Length; i++) Layers[i] = LoadLayer(i);
    }

    public DecoderConfig Config { get; }

    public double[] InverseFrequencies { get; }

    public double AttentionScale { get; }

    public DecoderLayer[] Layers { get; }

    public float* OutputNorm { get; } // [hidden]

    public PackedMatrix Output { get; } // [vocabulary, hidden]

    /// <summary>Repacks the weights on all workers. The source must stay open as long as the weights are used.</summary>
    public static DecoderWeights Load(ModelSource source, WorkerPool workers) => new(source, workers);

    /// <summary>hidden[i] = embedding row of tokens[i].</summary>
    public void Embed(ReadOnlySpan<int> tokens, float* hidden)
    {
        int width = Config.HiddenSize;
        for (int i = 0; i < tokens.Length; i++)
            Dequantizer.ToFloat32(_embedding.Type, _source.File.Row(_embedding, tokens[i]), new Span<float>(hidden + (long)i * width, width));
    }

    DecoderLayer LoadLayer(int layer) => new()
    {
        AttentionNorm = Vector(TensorSlot.AttentionNorm, layer),
        QueryKeyValue = Pack([Source(TensorSlot.Query, layer), Source(TensorSlot.Key, layer), Source(TensorSlot.Value, layer)]),
        QueryKeyValueBias = Config.HasQkvBias ? Stack((TensorSlot.QueryBias, _queryOrder), (TensorSlot.KeyBias, _keyOrder), (TensorSlot.ValueBias, null), layer) : null,
        QueryNorm = Config.HasQkNorm ? Vector(TensorSlot.QueryNorm, layer) : null,
        KeyNorm = Config.HasQkNorm ? Vector(TensorSlot.KeyNorm, layer) : null,
        AttentionOutput = Pack([Source(TensorSlot.AttentionOutput, layer)]),
        AttentionOutputBias = Config.HasAttentionOutputBias ? Vector(TensorSlot.AttentionOutputBias, layer) : null,
        FeedForwardNorm = Vector(TensorSlot.FeedForwardNorm, layer),
        GateUp = Pack([Source(TensorSlot.Gate, layer), Source(TensorSlot.Up, layer)]),
        GateUpBias = Config.HasFeedForwardBias ? Stack((TensorSlot.GateBias, null), (TensorSlot.UpBias, null), default, layer) : null,
        Down = Pack([Source(TensorSlot.Down, layer)]),
        DownBias = Config.HasFeedForwardBias ? Vector(TensorSlot.DownBias, layer) : null,
    };

    /// <summary>
    /// Rows of Q and K in half-split order: llama.cpp's converter interleaves them for architecture llama, so that file row 2i is row i of
    /// a head and 2i + 1 is row i + D/2. Undone here, once, so that the engine knows one pairing only.
    /// </summary>
    int[]? HeadOrder(int heads)
    {
        if (!_source.QueryKeyRowsInterleaved) return null;
        int d = Config.HeadDimension;
        var order = new int[heads * d];
        for (int i = 0; i < order.Length; i++)
        {
            int head = i / d, row = i % d;
            order[i] = head * d + (row < d / 2 ? 2 * row : 2 * (row - d / 2) + 1);
        }

        return order;
    }

    /// <summary>A matrix as it lies in the file, its rows in the engine's order.</summary>
    public RowSource Source(TensorSlot slot, int layer)
    {
        TensorInfo t = _source.Require(slot, layer);
        int[]? order = slot switch
        {
            TensorSlot.Query => _queryOrder,
            TensorSlot.Key => _keyOrder,
            _ => null,
        };
        return new(t.Type, _source.File.Data(t), checked((int)t.Rows), checked((int)t.Columns), order);
    }

    /// <summary>The matrix of <see cref="Output"/> as it lies in the file.</summary>
    public RowSource OutputSource => Source(Config.TiedEmbeddings ? TensorSlot.TokenEmbedding : TensorSlot.Output, 0);

    PackedMatrix Pack(ReadOnlySpan<RowSource> sources)
    {
        PackedMatrix matrix = PackedMatrix.Pack(sources, _workers);
        _matrices.Add(matrix);
        return matrix;
    }

    float* Vector(TensorSlot slot, int layer) => Stack((slot, null), default, default, layer);

    /// <summary>Up to three vectors behind one another, as floats. An entry of the default slot, which is no vector, is left out.</summary>
    float* Stack((TensorSlot Slot, int[]? Order) a, (TensorSlot Slot, int[]? Order) b, (TensorSlot Slot, int[]? Order) c, int layer)
    {
        var values = new List<float>();
        foreach ((TensorSlot slot, int[]? order) in ((TensorSlot, int[]?)[])[a, b, c])
        {
            if (slot == default) continue;
            TensorInfo t = _source.Require(slot, layer);
            var part = new float[t.ElementCount];
            Dequantizer.ToFloat32(t.Type, _source.File.Bytes(t), part);
            for (int i = 0; i < part.Length; i++) values.Add(part[order is null ? i : order[i]]);
        }

        var vector = (float*)NativeMemory.AlignedAlloc((nuint)values.Count * sizeof(float), 64);
        CollectionsMarshal.AsSpan(values).CopyTo(new(vector, values.Count));
        _vectors.Add((nint)vector);
        return vector;
    }

    public void Dispose()
    {
        foreach (PackedMatrix matrix in _matrices) matrix.Dispose();
        foreach (nint vector in _vectors) NativeMemory.AlignedFree((void*)vector);
        _matrices.Clear();
        _vectors.Clear();
    }
}
