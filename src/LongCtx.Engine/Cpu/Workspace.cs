using System.Runtime.InteropServices;
using LongCtx.Engine.Kernels;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Cpu;

/// <summary>Every buffer of a step, sized once from the model and the largest step; n = rows of the step.</summary>
internal sealed unsafe class Workspace : IDisposable
{
    readonly List<nint> _buffers = [];
    readonly long _scoredLogitsCount;
    float* _scoredLogits;

    public Workspace(DecoderWeights weights, int rowsMax, int scoredRowsMax)
    {
        DecoderConfig c = weights.Config;
        QkvWidth = (c.QueryHeadCount + 2 * c.KeyValueHeadCount) * c.HeadDimension;
        AttentionWidth = c.QueryHeadCount * c.HeadDimension;
        Hidden = Allocate((long)rowsMax * c.HiddenSize);
        Normed = Allocate((long)Math.Max(rowsMax, scoredRowsMax) * c.HiddenSize);
        Qkv = Allocate((long)rowsMax * QkvWidth);
        AttentionOutput = Allocate((long)rowsMax * AttentionWidth);
        OutputRows = Allocate((long)scoredRowsMax * c.HiddenSize);
        ActivationForms normed = weights.Output.Forms, attention = default, feedForward = default;
        foreach (DecoderLayer layer in weights.Layers) // a file may store its tensors in different types
        {
            normed |= layer.QueryKeyValue.Forms | layer.GateUp.Forms;
            attention |= layer.AttentionOutput.Forms;
            feedForward |= layer.Down.Forms;
        }

        NormedInput = new(Math.Max(rowsMax, scoredRowsMax), c.HiddenSize, normed);
        AttentionInput = new(rowsMax, AttentionWidth, attention);
        FeedForwardInput = new(rowsMax, c.FeedForwardSize, feedForward);
        _scoredLogitsCount = (long)scoredRowsMax * c.VocabularySize;
    }

    public int QkvWidth { get; }

    public int AttentionWidth { get; }

    public float* Hidden { get; }          // [n, hidden] the residual stream

    public float* Normed { get; }          // [n, hidden]

    public float* Qkv { get; }             // [n, (query + 2 KV heads) × d]

    public float* AttentionOutput { get; } // [n, query heads × d]

    public float* OutputRows { get; }      // [scored rows, hidden] the rows whose logits are wanted

    public Activations NormedInput { get; }

    public Activations AttentionInput { get; }

    public Activations FeedForwardInput { get; }

    /// <summary>[scored rows, vocabulary]; only evaluation needs it, so it is allocated when first used.</summary>
    public float* ScoredLogits() => _scoredLogits == null ? _scoredLogits = Allocate(_scoredLogitsCount) : _scoredLogits;

    float* Allocate(long count)
    {
        var buffer = (float*)NativeMemory.AlignedAlloc((nuint)(count * sizeof(float)), 64);
        _buffers.Add((nint)buffer);
        return buffer;
    }

    public void Dispose()
    {
        foreach (nint buffer in _buffers) NativeMemory.AlignedFree((void*)buffer);
        _buffers.Clear();
        NormedInput.Dispose();
        AttentionInput.Dispose();
        FeedForwardInput.Dispose();
    }
}
