using System.Numerics;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Kernels;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Training;

/// <summary>
/// Every buffer of a training run, sized once from the model, the adapter's rank and the number of tokens; n = tokens, m = n rounded up to
/// blocks of 64, d = head dimension, v = d rounded up to 16. What the backward pass needs of a layer's forward pass is kept for all layers;
/// the rest serves one layer after the other.
/// </summary>
internal sealed unsafe class TrainingWorkspace : IDisposable
{
    /// <summary>Bounds the logits of a large vocabulary: 64 MiB.</summary>
    const int LogitsMax = 16 << 20;

    /// <summary>Rows of the output matrix that are dequantised together.</summary>
    public const int VocabularyRange = 1024;

    const int TargetCount = 7;

    /// <summary>Ways to rotate a query, and a trained key (<see cref="Rotation"/>).</summary>
    public const int QueryRotations = 3, KeySets = 2;

    readonly List<IDisposable> _owned = [];
    readonly DecoderConfig _c;
    NativeBuffer? _cache;
    long _cacheCount;
    readonly float* _hidden, _qkv, _attention, _logSumExp, _middle, _gateUp, _lowRank;

    public TrainingWorkspace(DecoderWeights weights, int threads, int tokens, int rank)
    {
        const int Block = AttentionKernel.BlockSize;
        DecoderConfig c = _c = weights.Config;
        (Tokens, Rank) = (tokens, rank);
        PaddedTokens = (tokens + Block - 1) / Block * Block;
        ValueDimension = (c.HeadDimension + 15) / 16 * 16;
        QkvWidth = c.QuerySize + 2 * c.KeyValueSize;
        long n = tokens, layers = c.LayerCount;
        _hidden = Floats((layers + 1) * n * c.HiddenSize);
        _qkv = Floats(layers * n * QkvWidth);
        _attention = Floats(layers * n * c.QuerySize);
        _logSumExp = Floats(layers * c.QueryHeadCount * PaddedTokens);
        _middle = Floats(layers * n * c.HiddenSize);
        _gateUp = Floats(layers * n * 2 * c.FeedForwardSize);
        _lowRank = Floats(layers * TargetCount * n * rank);

        Queries = Floats(QueryRotations * (long)c.QuerySize * PaddedTokens);
        Keys = Floats(KeySets * (long)c.KeyValueHeadCount * PaddedTokens * ValueDimension);
        KeysTransposed = Floats(KeySets * (long)c.KeyValueSize * PaddedTokens);
        Values = Floats((long)c.KeyValueHeadCount * PaddedTokens * ValueDimension);
        ValuesTransposed = Floats((long)c.KeyValueSize * PaddedTokens);
        DQueries = Floats(QueryRotations * (long)c.QueryHeadCount * PaddedTokens * ValueDimension);
        DKeys = Floats(KeySets * (long)c.QuerySize * PaddedTokens);
        DValues = Floats((long)c.QuerySize * PaddedTokens);
        DHidden = Floats(n * c.HiddenSize);
        DGateUp = Floats(n * 2 * c.FeedForwardSize);
        DAttention = Floats(n * c.QuerySize);
        DQkv = Floats(n * QkvWidth);
        DLowRank = Floats(TargetCount * n * rank);
        Input = Floats(n * Math.Max(c.HiddenSize, c.FeedForwardSize));
        DroppedInput = Floats(n * Math.Max(Math.Max(c.HiddenSize, c.QuerySize), c.FeedForwardSize));
        int pairs = weights.InverseFrequencies.Length;
        Cosines = Floats(AttentionContext.RotationCount * n * pairs);
        Sines = Floats(AttentionContext.RotationCount * n * pairs);
        NegativeSines = Floats(AttentionContext.RotationCount * n * pairs);

        LogitRows = (int)Math.Clamp(LogitsMax / c.VocabularySize / Block * Block, Block, Math.Max(Block, PaddedTokens));
        Logits = Floats((long)LogitRows * c.VocabularySize);
        DLogitInput = Floats((long)LogitRows * c.HiddenSize);
        LossRows = Floats(n);
        WeightPanels = Floats(Enumerable.Max<long>([
            Panels(c.HiddenSize, QkvWidth), Panels(c.QuerySize, c.HiddenSize), Panels(c.HiddenSize, 2 * c.FeedForwardSize), Panels(c.FeedForwardSize, c.HiddenSize),
            Panels(c.HiddenSize, Math.Min(VocabularyRange, c.VocabularySize)),
        ]));

        ActivationForms normed = weights.Output.Forms, attention = default, feedForward = default;
        foreach (DecoderLayer layer in weights.Layers)
        {
            normed |= layer.QueryKeyValue.Forms | layer.GateUp.Forms;
            attention |= layer.AttentionOutput.Forms;
            feedForward |= layer.Down.Forms;
        }

        int rows = Block * threads;
        NormedInput = Own(new Activations(Math.Max(rows, LogitRows), c.HiddenSize, normed));
        AttentionInput = Own(new Activations(rows, c.QuerySize, attention));
        FeedForwardInput = Own(new Activations(rows, c.FeedForwardSize, feedForward));
        Scratch = new TrainingScratch[threads];
        for (int i = 0; i < threads; i++) Scratch[i] = new(Floats(TrainingScratch.Count(c, ValueDimension)), c, ValueDimension);
    }

    public int Tokens { get; }

    public int Rank { get; }

    public int PaddedTokens { get; }

    public int ValueDimension { get; }

    public int QkvWidth { get; }

    /// <summary>Label rows whose logits exist at a time.</summary>
    public int LogitRows { get; }

    // Of all layers, kept from the forward pass.

    public float* Hidden(int layer) => _hidden + (long)layer * Tokens * _c.HiddenSize;                            // [n, hidden] the residual stream before the layer

    public float* Qkv(int layer) => _qkv + (long)layer * Tokens * QkvWidth;                                       // [n, (query + 2 KV heads) × d] before norms and rotation

    public float* Attention(int layer) => _attention + (long)layer * Tokens * _c.QuerySize;                       // [n, query heads × d]

    public float* LogSumExp(int layer) => _logSumExp + (long)layer * _c.QueryHeadCount * PaddedTokens;            // [query heads, m] of the scores, in units of log 2

    public float* Middle(int layer) => _middle + (long)layer * Tokens * _c.HiddenSize;                            // [n, hidden] the residual stream between attention and feed-forward

    public float* GateUp(int layer) => _gateUp + (long)layer * Tokens * 2 * _c.FeedForwardSize;                   // [n, 2 × ffn]

    public float* LowRank(int layer, LoraTargets target) => _lowRank + ((long)layer * TargetCount + Number(target)) * Tokens * Rank; // [n, r] s A x

    // Of one layer.

    public float* Queries { get; }          // [rotations, query heads, m, d] × log2(e)/√d

    public float* Keys { get; }             // [near and far, KV heads, m, v] rotated

    public float* KeysTransposed { get; }   // [near and far, KV heads, m/64, d, 64]

    public float* Values { get; }           // [KV heads, m, v]

    public float* ValuesTransposed { get; } // [KV heads, m/64, d, 64]

    public float* DQueries { get; }         // [rotations, query heads, m, v]

    public float* DKeys { get; }            // [near and far, query heads, m, d], summed over a group afterwards

    public float* DValues { get; }          // [query heads, m, d]

    public float* DHidden { get; }          // [n, hidden]

    public float* DGateUp { get; }          // [n, 2 × ffn]

    public float* DAttention { get; }       // [n, query heads × d]

    public float* DQkv { get; }             // [n, (query + 2 KV heads) × d]

    public float* Input { get; }            // [n, hidden or ffn] what the projections read, computed again

    public float* DroppedInput { get; }     // the same after dropout

    public float* DLowRank { get; }         // [targets, n, r] s B^T dY

    public float* DLowRankOf(LoraTargets target) => DLowRank + (long)Number(target) * Tokens * Rank;

    public float* WeightPanels { get; }     // a frozen matrix in f32, or a range of the output's

    public float* Cosines { get; }          // [rotations and far keys, n, pairs]

    public float* Sines { get; }

    public float* NegativeSines { get; }    // turn gradients back

    /// <summary>Blocks of a live cache in single precision, one layer's at a time.</summary>
    public float* Cache { get; private set; }

    /// <summary>Makes room for so many floats in <see cref="Cache"/>.</summary>
    public void ReserveCache(long count)
    {
        if (count <= _cacheCount) return;
        _cache?.Dispose();
        _cache = new((nuint)count * sizeof(float));
        Cache = (float*)_cache.Pointer;
        _cacheCount = count;
    }

    public float* Logits { get; }           // [LogitRows, vocabulary], later their gradient

    public float* DLogitInput { get; }      // [LogitRows, hidden]

    public float* LossRows { get; }         // [labels] cross-entropy in nats

    public Activations NormedInput { get; }

    public Activations AttentionInput { get; }

    public Activations FeedForwardInput { get; }

    public TrainingScratch[] Scratch { get; }

    static long Panels(int inputs, int outputs) => (inputs + 15L) / 16 * 16 * outputs;

    static int Number(LoraTargets target) => BitOperations.TrailingZeroCount((int)target);

    float* Floats(long count) => (float*)Own(new NativeBuffer((nuint)Math.Max(count, 1) * sizeof(float))).Pointer;

    T Own<T>(T resource) where T : IDisposable
    {
        _owned.Add(resource);
        return resource;
    }

    public void Dispose()
    {
        _cache?.Dispose();
        foreach (IDisposable resource in _owned) resource.Dispose();
        _owned.Clear();
    }
}

/// <summary>One worker's buffers for a block of 64 rows.</summary>
internal sealed unsafe class TrainingScratch
{
    const int Block = AttentionKernel.BlockSize;

    public TrainingScratch(float* memory, DecoderConfig c, int valueDimension)
    {
        Normed = Take(Block * c.HiddenSize);
        Wide = Take(Block * Widest(c));
        Dropped = Take(Block * Widest(c));
        Row = Take(Widest(c));
        Scores = Take(Block * Block);
        DScores = Take(Block * Block);
        Heads = Take(Block * valueDimension);
        Max = Take(Block);
        Sum = Take(Block);
        Factors = Take(Block);
        Visible = (AttentionKernel.Slots*)Take(2 * Block);

        float* Take(int count)
        {
            float* part = memory;
            memory += Padded(count);
            return part;
        }
    }

    public float* Normed { get; }  // [64, hidden]

    public float* Wide { get; }    // [64, the widest input]

    public float* Dropped { get; } // [64, the widest input]

    public float* Row { get; }     // [the widest input] a dequantised row

    public float* Scores { get; }  // [64, 64]

    public float* DScores { get; } // [64, 64]

    public float* Heads { get; }   // [64, v] one head of 64 rows

    public float* Max { get; }     // [64]

    public float* Sum { get; }     // [64]

    public float* Factors { get; } // [64]

    public AttentionKernel.Slots* Visible { get; } // [64]

    public static long Count(DecoderConfig c, int valueDimension) =>
        Padded(Block * c.HiddenSize) + 2 * Padded(Block * Widest(c)) + Padded(Widest(c)) + 2 * Padded(Block * Block) + Padded(Block * valueDimension) + 5 * Block;

    static int Widest(DecoderConfig c) => Math.Max(Math.Max(c.HiddenSize, c.QuerySize), c.FeedForwardSize);

    static int Padded(int count) => (count + 15) / 16 * 16;
}
