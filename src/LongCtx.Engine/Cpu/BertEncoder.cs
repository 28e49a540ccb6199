using System.Runtime.InteropServices;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Files;
using LongCtx.Engine.Kernels;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Cpu;

/// <summary>
/// A BERT sentence encoder: token + position + type embeddings, layers of bidirectional attention and GELU with LayerNorm after each
/// part, pooling, L2 normalisation. Several texts share a batch; a text's vector does not depend on its company.
/// </summary>
internal sealed unsafe class BertEncoder : IDisposable
{
    const int BlockSize = BlockPool.BlockSize;

    /// <summary>Tokens of one batch; a single text is never longer than the model's positions.</summary>
    const int BatchTokensMax = 512;

    sealed class Layer
    {
        public required PackedMatrix QueryKeyValue { get; init; } // [3 hidden, hidden]
        public required PackedMatrix Output { get; init; }        // [hidden, hidden]
        public required PackedMatrix Up { get; init; }            // [ffn, hidden]
        public required PackedMatrix Down { get; init; }          // [hidden, ffn]
        public required float[] QueryKeyValueBias { get; init; }
        public required float[] OutputBias { get; init; }
        public required float[] UpBias { get; init; }
        public required float[] DownBias { get; init; }
        public required (float[] Weight, float[] Bias) AttentionNorm { get; init; }
        public required (float[] Weight, float[] Bias) FeedForwardNorm { get; init; }
    }

    readonly ModelSource _source;
    readonly EncoderConfig _config;
    readonly WorkerPool _workers;
    readonly Layer[] _layers;
    readonly (float[] Weight, float[] Bias) _embeddingNorm;
    readonly TensorInfo _words, _positions, _types;
    readonly List<nint> _buffers = [];
    readonly Activations _hiddenInput, _wideInput;
    readonly float*[] _scratch; // per worker: widened keys and values of one text's head, queries, scores, accumulators
    readonly float* _hidden, _qkv, _attention, _wide, _projected;
    readonly int _rowsMax, _d, _v;

    public static BertEncoder Load(ModelSource source, WorkerPool workers) => new(source, workers);

    BertEncoder(ModelSource source, WorkerPool workers)
    {
        (_source, _config, _workers) = (source, source.Encoder!, workers);
        (_d, _v) = (_config.HeadDimension, (_config.HeadDimension + 15) / 16 * 16);
        _words = source.Require(TensorSlot.TokenEmbedding);
        _positions = source.Require(TensorSlot.PositionEmbedding);
        _types = source.Require(TensorSlot.TokenTypeEmbedding);
        _embeddingNorm = (Vector(TensorSlot.EmbeddingNorm, 0), Vector(TensorSlot.EmbeddingNormBias, 0));
        _layers = [.. Enumerable.Range(0, _config.LayerCount).Select(LoadLayer)];
        int hidden = _config.HiddenSize, ffn = _config.FeedForwardSize, positions = _config.PositionCount;
        _rowsMax = Math.Max(BatchTokensMax, positions);
        ActivationForms forms = default;
        foreach (Layer l in _layers) forms |= l.QueryKeyValue.Forms | l.Output.Forms | l.Up.Forms | l.Down.Forms;
        _hiddenInput = new(_rowsMax, hidden, forms);
        _wideInput = new(_rowsMax, ffn, forms);
        _hidden = Allocate((long)_rowsMax * hidden);
        _projected = Allocate((long)_rowsMax * hidden);
        _attention = Allocate((long)_rowsMax * hidden);
        _qkv = Allocate((long)_rowsMax * 3 * hidden);
        _wide = Allocate((long)_rowsMax * ffn);
        int blocks = (positions + BlockSize - 1) / BlockSize;
        _scratch = new float*[workers.Threads];
        for (int i = 0; i < _scratch.Length; i++) _scratch[i] = Allocate((long)blocks * BlockSize * (_d + _v) + BlockSize * (_d + BlockSize + _v));
    }

    Layer LoadLayer(int i) => new()
    {
        QueryKeyValue = Pack(i, TensorSlot.Query, TensorSlot.Key, TensorSlot.Value),
        Output = Pack(i, TensorSlot.AttentionOutput),
        Up = Pack(i, TensorSlot.Up),
        Down = Pack(i, TensorSlot.Down),
        QueryKeyValueBias = [.. Vector(TensorSlot.QueryBias, i), .. Vector(TensorSlot.KeyBias, i), .. Vector(TensorSlot.ValueBias, i)],
        OutputBias = Vector(TensorSlot.AttentionOutputBias, i),
        UpBias = Vector(TensorSlot.UpBias, i),
        DownBias = Vector(TensorSlot.DownBias, i),
        AttentionNorm = (Vector(TensorSlot.AttentionNorm, i), Vector(TensorSlot.AttentionNormBias, i)),
        FeedForwardNorm = (Vector(TensorSlot.FeedForwardNorm, i), Vector(TensorSlot.FeedForwardNormBias, i)),
    };

    /// <summary>One vector [hidden] for each text, given as token ids with the special tokens around it, at most as many as there are positions.</summary>
    public float[][] Embed(IReadOnlyList<int[]> texts)
    {
        var vectors = new float[texts.Count][];
        for (int first = 0; first < texts.Count;) first += EmbedBatch(texts, first, vectors);
        return vectors;
    }

    /// <summary>Embeds as many texts from number <paramref name="first"/> on as fit one batch; returns how many.</summary>
    public int EmbedBatch(IReadOnlyList<int[]> texts, int first, float[][] vectors)
    {
        int count = 0, rows = 0;
        while (first + count < texts.Count && rows + texts[first + count].Length <= _rowsMax) rows += texts[first + count++].Length;
        if (count == 0) throw new ArgumentException($"a text of {texts[first].Length} tokens is longer than the model's {_config.PositionCount} positions", nameof(texts));
        Run([.. texts.Skip(first).Take(count)], vectors.AsSpan(first, count));
        return count;
    }

    void Run(int[][] texts, Span<float[]> vectors)
    {
        int hidden = _config.HiddenSize, ffn = _config.FeedForwardSize, rows = 0;
        var starts = new int[texts.Length + 1];
        for (int i = 0; i < texts.Length; i++)
        {
            for (int j = 0; j < texts[i].Length; j++) EmbedToken(texts[i][j], j, _hidden + (long)rows++ * hidden);
            starts[i + 1] = rows;
        }

        foreach (Layer layer in _layers)
        {
            _hiddenInput.Load(_hidden, hidden, 0, rows);
            Project(layer.QueryKeyValue, layer.QueryKeyValueBias, _hiddenInput, rows, _qkv, 3 * hidden);
            var attend = new AttendJob { Encoder = this, Starts = starts };
            _workers.Run(ref attend, texts.Length * _config.HeadCount);
            _hiddenInput.Load(_attention, hidden, 0, rows);
            Project(layer.Output, layer.OutputBias, _hiddenInput, rows, _projected, hidden);
            AddAndNormalise(rows, layer.AttentionNorm);

            _hiddenInput.Load(_hidden, hidden, 0, rows);
            Project(layer.Up, layer.UpBias, _hiddenInput, rows, _wide, ffn);
            Elementwise.Gelu(_wide, rows * ffn);
            _wideInput.Load(_wide, ffn, 0, rows);
            Project(layer.Down, layer.DownBias, _wideInput, rows, _projected, hidden);
            AddAndNormalise(rows, layer.FeedForwardNorm);
        }

        for (int i = 0; i < texts.Length; i++) vectors[i] = Pool(starts[i], starts[i + 1]);
    }

    void EmbedToken(int token, int position, float* row)
    {
        int hidden = _config.HiddenSize;
        Span<float> sum = new(row, hidden), part = stackalloc float[hidden];
        Dequantizer.ToFloat32(_words.Type, _source.File.Row(_words, token), sum);
        foreach ((TensorInfo table, int index) in ((TensorInfo, int)[])[(_positions, position), (_types, 0)])
        {
            Dequantizer.ToFloat32(table.Type, _source.File.Row(table, index), part);
            for (int i = 0; i < hidden; i++) sum[i] += part[i];
        }

        fixed (float* weight = _embeddingNorm.Weight, bias = _embeddingNorm.Bias)
            Elementwise.LayerNorm(row, weight, bias, row, hidden, (float)_config.NormEpsilon);
    }

    void Project(PackedMatrix matrix, float[] bias, Activations input, int rows, float* output, int width)
    {
        MatMul.Multiply(matrix, input, 0, rows, output, width, _workers);
        fixed (float* b = bias)
            for (int row = 0; row < rows; row++) Elementwise.Add(b, output + (long)row * width, width);
    }

    void AddAndNormalise(int rows, (float[] Weight, float[] Bias) norm)
    {
        int hidden = _config.HiddenSize;
        fixed (float* weight = norm.Weight, bias = norm.Bias)
            for (int row = 0; row < rows; row++)
            {
                float* x = _hidden + (long)row * hidden;
                Elementwise.Add(_projected + (long)row * hidden, x, hidden);
                Elementwise.LayerNorm(x, weight, bias, x, hidden, (float)_config.NormEpsilon);
            }
    }

    struct AttendJob : IParallelJob
    {
        public BertEncoder Encoder;
        public int[] Starts;

        public readonly void Execute(int part, int worker)
        {
            int heads = Encoder._config.HeadCount, text = part / heads;
            Encoder.Attend(Starts[text], Starts[text + 1] - Starts[text], part % heads, Encoder._scratch[worker]);
        }
    }

    /// <summary>One head of one text of n tokens: every token sees every other.</summary>
    void Attend(int first, int n, int head, float* scratch)
    {
        int hidden = _config.HiddenSize, stride = 3 * hidden, blocks = (n + BlockSize - 1) / BlockSize;
        float* keys = scratch, values = keys + blocks * BlockSize * _d; // [blocks][d][64] and [blocks × 64][v]
        float* queries = values + blocks * BlockSize * _v, scores = queries + BlockSize * _d, output = scores + BlockSize * BlockSize;
        for (int j = 0; j < n; j++)
        {
            float* key = _qkv + (long)(first + j) * stride + hidden + head * _d, value = key + hidden;
            float* to = keys + j / BlockSize * BlockSize * _d + j % BlockSize;
            for (int i = 0; i < _d; i++) to[i * BlockSize] = key[i];
            for (int i = 0; i < _d; i++) values[j * _v + i] = value[i];
            for (int i = _d; i < _v; i++) values[j * _v + i] = 0;
        }

        float scale = (float)(VectorMath.Log2E / Math.Sqrt(_d));
        float* max = stackalloc float[BlockSize], sum = stackalloc float[BlockSize], factors = stackalloc float[BlockSize];
        var visible = stackalloc AttentionKernel.Slots[BlockSize];
        for (int row = 0; row < n; row += BlockSize)
        {
            int count = Math.Min(BlockSize, n - row);
            for (int r = 0; r < count; r++)
                for (int i = 0; i < _d; i++) queries[r * _d + i] = _qkv[(long)(first + row + r) * stride + head * _d + i] * scale;
            new Span<float>(max, count).Fill(float.NegativeInfinity);
            new Span<float>(sum, count).Clear();
            new Span<float>(output, count * _v).Clear();
            for (int block = 0; block < blocks; block++)
            {
                int last = Math.Min(BlockSize, n - block * BlockSize) - 1;
                for (int r = 0; r < count; r++) visible[r] = new(0, last);
                AttentionKernel.Scores(queries, count, _d, keys + block * BlockSize * _d, scores, last + 1);
                AttentionKernel.Softmax(scores, count, null, visible, max, sum, factors);
                AttentionKernel.Accumulate(output, count, _v, scores, factors, values + block * BlockSize * _v, 0, last);
            }

            for (int r = 0; r < count; r++)
                for (int i = 0; i < _d; i++) _attention[(long)(first + row + r) * hidden + head * _d + i] = output[r * _v + i] / sum[r];
        }
    }

    float[] Pool(int first, int end)
    {
        int hidden = _config.HiddenSize;
        int last = _config.Pooling == Pooling.Cls ? first + 1 : end;
        var sum = new double[hidden];
        for (int row = first; row < last; row++)
            for (int i = 0; i < hidden; i++) sum[i] += _hidden[(long)row * hidden + i];
        double norm = Math.Sqrt(sum.Sum(x => x * x));
        return Array.ConvertAll(sum, x => (float)(x / norm)); // the mean's divisor cancels in the normalisation
    }

    PackedMatrix Pack(int layer, params ReadOnlySpan<TensorSlot> slots)
    {
        var sources = new RowSource[slots.Length];
        for (int i = 0; i < slots.Length; i++)
        {
            TensorInfo t = _source.Require(slots[i], layer);
            sources[i] = new(t.Type, _source.File.Data(t), checked((int)t.Rows), checked((int)t.Columns));
        }

        return PackedMatrix.Pack(sources, _workers);
    }

    float[] Vector(TensorSlot slot, int layer)
    {
        TensorInfo t = _source.Require(slot, layer);
        var vector = new float[t.ElementCount];
        Dequantizer.ToFloat32(t.Type, _source.File.Bytes(t), vector);
        return vector;
    }

    float* Allocate(long count)
    {
        var buffer = (float*)NativeMemory.AlignedAlloc((nuint)count * sizeof(float), 64);
        _buffers.Add((nint)buffer);
        return buffer;
    }

    public void Dispose()
    {
        foreach (Layer l in _layers)
            foreach (PackedMatrix m in (PackedMatrix[])[l.QueryKeyValue, l.Output, l.Up, l.Down]) m.Dispose();
        foreach (nint buffer in _buffers) NativeMemory.AlignedFree((void*)buffer);
        _buffers.Clear();
        _hiddenInput.Dispose();
        _wideInput.Dispose();
    }
}
