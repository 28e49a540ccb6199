using System.Runtime.CompilerServices;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Kernels;
using LongCtx.Engine.Models;
using LongCtx.Engine.Runtime;
using LongCtx.Engine.Training;

namespace LongCtx.Engine.Cpu;

/// <summary>
/// A Llama-family decoder on the CPU. <see cref="Step"/> is the whole forward pass over a batch of rows, top to bottom.
/// </summary>
/// <remarks>
/// A row's result is the same bits whatever else is in the batch and however many threads work: every kernel computes an output element
/// from its own row alone, in an order fixed by the shapes.
/// </remarks>
public sealed unsafe class CpuModelRunner : IModelRunner
{
    /// <summary>Rows of logits computed at a time for scoring: bounds the memory that a large vocabulary needs.</summary>
    const int ScoredRowsMax = 64;

    readonly DecoderWeights _weights;
    readonly DecoderConfig _config;
    readonly KvMemory _memory;
    readonly Attention _attention;
    readonly GatedProduct _gatedProduct;
    readonly AdapterPath _adapters;
    readonly WorkerPool _workers;
    WorkerPool? _ownedWorkers;
    LoraTrainer? _trainer;
    readonly Workspace _w;
    readonly float _epsilon;
    readonly List<(int Source, int Destination)> _copies = [];
    readonly List<int> _outputRows = []; // rows of the batch whose logits are wanted, ascending

    /// <summary>A runner of its own, for evaluation and tools: loads the weights and makes room for a cache, allocated as it is used.</summary>
    /// <param name="source">Must stay open as long as the runner lives.</param>
    public static CpuModelRunner Load(ModelSource source, int threads, long kvMemoryBytes, int stepTokensMax = 512)
    {
        var workers = new WorkerPool(threads);
        return new(source, workers, kvMemoryBytes, stepTokensMax) { _ownedWorkers = workers };
    }

    internal CpuModelRunner(ModelSource source, WorkerPool workers, long kvMemoryBytes, int stepTokensMax)
    {
        DecoderWeights weights = DecoderWeights.Load(source, workers);
        _weights = weights;
        _config = weights.Config;
        _workers = workers;
        StepTokensMax = stepTokensMax;
        long blockBytes = KvMemory.BytesPerBlock(_config.LayerCount, _config.KeyValueHeadCount, _config.HeadDimension);
        int blocks = (int)Math.Clamp(kvMemoryBytes / blockBytes, 1, int.MaxValue / 2);
        Pool = new(blocks);
        _memory = new(blocks, _config.LayerCount, _config.KeyValueHeadCount, _config.HeadDimension);
        var rotary = new RotaryEmbedding(weights.InverseFrequencies, weights.AttentionScale);
        _attention = new(_memory, rotary, workers, _config.QueryHeadCount, _config.KeyValueHeadCount, _config.HeadDimension);
        _gatedProduct = new(workers);
        _adapters = new(workers, _config, stepTokensMax);
        _epsilon = (float)_config.NormEpsilon;
        _w = new(weights, stepTokensMax, ScoredRowsMax);
    }

    public BlockPool Pool { get; }

    public int VocabularySize => _config.VocabularySize;

    /// <summary>The number in its name rises with every change of a kernel that gives other bits. The instruction sets give the same ones.</summary>
    public KvLayout Layout => new("cpu-1", _config.LayerCount, _config.KeyValueHeadCount, _config.HeadDimension, _memory.ValueDimension);

    public bool IsBiased(int block) => _memory.IsBiased(block);

    public void Read(int block, KvPart part, Span<byte> destination) => _memory.Read(block, part, destination);

    public void Write(int block, KvPart part, ReadOnlySpan<byte> source) => _memory.Write(block, part, source);

    public int StepTokensMax { get; }

    internal KvMemory Memory => _memory;

    /// <summary>For training, which goes over the same weights with the same threads, between two steps.</summary>
    internal DecoderWeights Weights => _weights;

    internal WorkerPool Workers => _workers;

    public void Step(StepBatch batch)
    {
        int rows = batch.RowCount;
        if (rows == 0) return;
        if (rows > StepTokensMax) throw new ArgumentException($"a step of {rows} tokens is larger than {StepTokensMax}", nameof(batch));
        _adapters.Plan(batch); // refuses what does not fit before anything has happened
        Reserve(batch);
        _attention.Plan(batch);
        _weights.Embed(batch.Tokens, _w.Hidden);

        for (int layer = 0; layer < _config.LayerCount; layer++)
        {
            DecoderLayer l = _weights.Layers[layer];
            Normalise(_w.Hidden, l.AttentionNorm, rows);
            MatMul.Multiply(l.QueryKeyValue, _w.NormedInput, 0, rows, _w.Qkv, _w.QkvWidth, _workers);
            _adapters.Add(layer, PackedLora.QueryKeyValue, _w.Normed, _config.HiddenSize, _w.Qkv, _w.QkvWidth);
            AdjustQueriesAndKeys(l, rows);
            bool isLast = layer == _config.LayerCount - 1;
            _attention.Run(layer, _w.Qkv, _w.AttentionOutput, outputsOnly: isLast);
            if (isLast && (rows = KeepOutputRows(batch)) == 0) break;
            LoadRows(_w.AttentionOutput, _w.AttentionInput, rows, _w.AttentionWidth);
            AddProjection(l.AttentionOutput, l.AttentionOutputBias, _w.AttentionInput, rows);
            _adapters.Add(layer, LoraTargets.Output, _w.AttentionOutput, _w.AttentionWidth, _w.Hidden, _config.HiddenSize);

            Normalise(_w.Hidden, l.FeedForwardNorm, rows);
            _adapters.ReduceGateUp(layer, _w.Normed, _config.HiddenSize);
            _gatedProduct.Run(l.GateUp, l.GateUpBias, _w.NormedInput, rows, _w.FeedForwardInput, layer, _adapters);
            AddProjection(l.Down, l.DownBias, _w.FeedForwardInput, rows);
            _adapters.Add(layer, LoraTargets.Down, _adapters.Gated, _config.FeedForwardSize, _w.Hidden, _config.HiddenSize);
        }

        _adapters.Forget();
        ComputeOutputs(batch);
        foreach (StepBatch.Entry entry in batch.Entries) entry.Sequence.Commit(entry.RowCount);
    }

    public TrainingRun TrainBegin(LoraState state, TrainingChunk chunk, TrainingOptions options) => (_trainer ??= new(this)).Begin(state, chunk, options);

    void Reserve(StepBatch batch)
    {
        foreach (StepBatch.Entry entry in batch.Entries)
        {
            _copies.Clear();
            if (!entry.Sequence.TryReserve(entry.RowCount, _copies))
                throw new InvalidOperationException($"the KV pool has {Pool.FreeCount} free blocks, {entry.Sequence.BlocksNeeded(entry.RowCount)} are needed: the scheduler must admit fewer sequences");
            foreach ((int source, int destination) in _copies) _memory.Copy(source, destination);
        }
    }

    /// <summary>NormedInput = rms norm of each row of <paramref name="x"/>, in the form that the products take.</summary>
    void Normalise(float* x, float* weight, int rows)
    {
        var job = new NormJob { Runner = this, X = x, Weight = weight, Rows = rows };
        _workers.Run(ref job, RowParts(rows));
    }

    void LoadRows(float* x, Activations to, int rows, int width)
    {
        var job = new LoadJob { X = x, To = to, Width = width, Rows = rows };
        _workers.Run(ref job, RowParts(rows));
    }

    /// <summary>Biases of Qwen2, and the per-head norms of Qwen3, before the rotation.</summary>
    void AdjustQueriesAndKeys(DecoderLayer l, int rows)
    {
        if (l.QueryKeyValueBias == null && l.QueryNorm == null) return;
        var job = new AdjustJob { Runner = this, Layer = l, Rows = rows };
        _workers.Run(ref job, RowParts(rows));
    }

    /// <summary>Hidden += projection of <paramref name="input"/> (+ bias).</summary>
    void AddProjection(PackedMatrix matrix, float* bias, Activations input, int rows)
    {
        int width = _config.HiddenSize;
        MatMul.Multiply(matrix, input, 0, rows, _w.Hidden, width, _workers, accumulate: true);
        if (bias == null) return;
        for (int row = 0; row < rows; row++) Elementwise.Add(bias, _w.Hidden + (long)row * width, width);
    }

    /// <summary>
    /// After the last layer has stored its keys, only rows whose logits are wanted matter: they move to the front of the residual stream.
    /// Of a prompt that is one row.
    /// </summary>
    int KeepOutputRows(StepBatch batch)
    {
        _outputRows.Clear();
        foreach (StepBatch.Entry entry in batch.Entries)
            for (int row = entry.FirstRow; row < entry.FirstRow + entry.RowCount; row++)
                if (batch.IsOutput(entry, row)) _outputRows.Add(row);
        for (int i = 0; i < _outputRows.Count; i++)
        {
            Move(_w.Hidden, _outputRows[i], i, _config.HiddenSize);
            Move(_w.AttentionOutput, _outputRows[i], i, _w.AttentionWidth);
        }

        _adapters.Keep(_outputRows);
        return _outputRows.Count;

        static void Move(float* x, int from, int to, int width)
        {
            if (from != to) new ReadOnlySpan<float>(x + (long)from * width, width).CopyTo(new(x + (long)to * width, width));
        }
    }

    void ComputeOutputs(StepBatch batch)
    {
        float* logits = batch.PrepareOutputs(VocabularySize);
        ReadOnlySpan<int> targets = batch.Targets;
        Span<int> scored = stackalloc int[ScoredRowsMax];
        int pending = 0;
        for (int i = 0; i < _outputRows.Count; i++)
        {
            if (targets[_outputRows[i]] >= 0) continue;
            TakeOutputRow(i, pending++);
            if (pending == ScoredRowsMax) FlushLogits();
        }

        FlushLogits();
        for (int i = 0; i < _outputRows.Count; i++)
        {
            if (targets[_outputRows[i]] < 0) continue;
            scored[pending] = _outputRows[i];
            TakeOutputRow(i, pending++);
            if (pending == ScoredRowsMax) pending = Score(batch, scored);
        }

        if (pending > 0) Score(batch, scored[..pending]);

        void FlushLogits()
        {
            if (pending == 0) return;
            ProjectToVocabulary(pending, logits);
            logits += (long)pending * VocabularySize;
            pending = 0;
        }
    }

    void TakeOutputRow(int row, int index) =>
        new ReadOnlySpan<float>(_w.Hidden + (long)row * _config.HiddenSize, _config.HiddenSize).CopyTo(new(_w.OutputRows + (long)index * _config.HiddenSize, _config.HiddenSize));

    void ProjectToVocabulary(int rows, float* logits)
    {
        Normalise(_w.OutputRows, _weights.OutputNorm, rows);
        MatMul.Multiply(_weights.Output, _w.NormedInput, 0, rows, logits, VocabularySize, _workers);
    }

    int Score(StepBatch batch, ReadOnlySpan<int> rows)
    {
        float* logits = _w.ScoredLogits();
        ProjectToVocabulary(rows.Length, logits);
        fixed (int* row = rows)
        fixed (int* target = batch.Targets)
        fixed (float* logprob = batch.AllLogprobs)
        {
            var job = new ScoreJob { Logits = logits, Vocabulary = VocabularySize, Rows = row, Targets = target, Logprobs = logprob };
            _workers.Run(ref job, rows.Length);
        }

        return 0;
    }

    const int RowsPerPart = 8;

    static int RowParts(int rows) => (rows + RowsPerPart - 1) / RowsPerPart;

    struct NormJob : IParallelJob
    {
        public CpuModelRunner Runner;
        public float* X, Weight;
        public int Rows;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)] // the first prompt should not wait for the tiers
        public readonly void Execute(int part, int worker)
        {
            int first = part * RowsPerPart, count = Math.Min(RowsPerPart, Rows - first), n = Runner._config.HiddenSize;
            float* normed = Runner._w.Normed;
            for (int row = first; row < first + count; row++)
                Elementwise.RmsNorm(X + (long)row * n, Weight, normed + (long)row * n, n, Runner._epsilon);
            Runner._w.NormedInput.Load(normed + (long)first * n, n, first, count);
        }
    }

    struct LoadJob : IParallelJob
    {
        public float* X;
        public Activations To;
        public int Width, Rows;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)] // the first prompt should not wait for the tiers
        public readonly void Execute(int part, int worker)
        {
            int first = part * RowsPerPart, count = Math.Min(RowsPerPart, Rows - first);
            To.Load(X + (long)first * Width, Width, first, count);
        }
    }

    struct AdjustJob : IParallelJob
    {
        public CpuModelRunner Runner;
        public DecoderLayer Layer;
        public int Rows;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)] // the first prompt should not wait for the tiers
        public readonly void Execute(int part, int worker)
        {
            DecoderConfig c = Runner._config;
            for (int row = part * RowsPerPart; row < Math.Min(Rows, (part + 1) * RowsPerPart); row++)
            {
                float* qkv = Runner._w.Qkv + (long)row * Runner._w.QkvWidth;
                if (Layer.QueryKeyValueBias != null) Elementwise.Add(Layer.QueryKeyValueBias, qkv, Runner._w.QkvWidth);
                if (Layer.QueryNorm == null) continue;
                for (int h = 0; h < c.QueryHeadCount + c.KeyValueHeadCount; h++)
                {
                    float* head = qkv + h * c.HeadDimension;
                    Elementwise.RmsNorm(head, h < c.QueryHeadCount ? Layer.QueryNorm : Layer.KeyNorm, head, c.HeadDimension, Runner._epsilon);
                }
            }
        }
    }

    struct ScoreJob : IParallelJob
    {
        public float* Logits, Logprobs;
        public int* Rows, Targets;
        public int Vocabulary;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)] // the first prompt should not wait for the tiers
        public readonly void Execute(int part, int worker)
        {
            float* row = Logits + (long)part * Vocabulary;
            Logprobs[Rows[part]] = row[Targets[Rows[part]]] - Elementwise.LogSumExp(row, Vocabulary);
        }
    }

    public void Dispose()
    {
        _trainer?.Dispose();
        _attention.Dispose();
        _gatedProduct.Dispose();
        _adapters.Dispose();
        _memory.Dispose();
        _w.Dispose();
        _weights.Dispose();
        _ownedWorkers?.Dispose();
    }
}
