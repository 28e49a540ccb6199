using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cpu;

namespace LongCtx.Engine.Training;

/// <summary>
/// Trains low-rank adapters over the frozen weights of a runner, on its threads: between two steps, never during one. One run at a time; the
/// memory it needs is allocated for the first of its size and stays for the next.
/// </summary>
/// <param name="runner">Must outlive the trainer.</param>
public sealed class LoraTrainer(CpuModelRunner runner) : IDisposable
{
    TrainingWorkspace? _workspace;
    TrainingPass? _pass;
    TrainingRun? _current;

    /// <summary>Of the last backward pass.</summary>
    internal LoraWeights? Gradient => _pass?.Gradient;

    /// <summary>
    /// Begins an update; <paramref name="state"/> stays as it is, whatever becomes of it. Allocates the next version and, for the first run of
    /// a size, the memory of all: hundreds of megabytes for a small model, so this may be called beside the runner's steps, as it uses no worker.
    /// </summary>
    /// <exception cref="ArgumentException">The adapter is for another model, or a number is out of its range.</exception>
    public TrainingRun Begin(LoraState state, TrainingChunk chunk, TrainingOptions options)
    {
        options.Validate();
        chunk.Validate(runner.VocabularySize);
        TrainingPass pass = Pass(state.Layout, chunk.Tokens.Length);
        pass.Attend(new(chunk.Cache, chunk.Tokens.Length), chunk.Tokens.Length);
        return _current = new(pass, state, chunk, options);
    }

    /// <summary>Mean cross-entropy in nats of token <paramref name="firstLabel"/> and all behind it under an adapter, or without one.</summary>
    public double Evaluate(LoraWeights? adapter, ReadOnlyMemory<int> tokens, int firstLabel)
    {
        new TrainingChunk(tokens, firstLabel).Validate(runner.VocabularySize);
        TrainingPass pass = Pass(adapter?.Layout, tokens.Length);
        pass.Attend(new(null, tokens.Length), tokens.Length);
        pass.Begin(adapter, firstLabel, heldOut: 0, default);
        foreach (TrainingUnit _ in pass.Forward(tokens))
        {
        }

        foreach (TrainingUnit _ in pass.CrossEntropy(tokens, 0, withGradients: false))
        {
        }

        return pass.Loss;
    }

    /// <summary>The pass over a workspace that is large enough; a run that has not ended loses it.</summary>
    TrainingPass Pass(LoraLayout? layout, int tokens)
    {
        if (layout is not null) CheckModel(layout);
        if (_current is { HasEnded: false }) throw new InvalidOperationException("a training run has not ended: a trainer has one at a time; end it or dispose it first");
        int rank = layout?.Rank ?? 1;
        if (_workspace is null || _workspace.Tokens < tokens || _workspace.Rank < rank)
        {
            (tokens, rank) = (Math.Max(tokens, _workspace?.Tokens ?? 0), Math.Max(rank, _workspace?.Rank ?? 0));
            _workspace?.Dispose();
            _workspace = new(runner.Weights, runner.Workers.Threads, tokens, rank);
            _pass = new(runner.Weights, runner.Memory, runner.Workers, _workspace);
        }

        if (layout is not null) _pass!.Reserve(layout);
        return _pass!;
    }

    void CheckModel(LoraLayout layout)
    {
        (int, int, int, int, int) Shape(Models.DecoderConfig c) => (c.LayerCount, c.HiddenSize, c.QuerySize, c.KeyValueSize, c.FeedForwardSize);
        var (model, adapter) = (Shape(runner.Weights.Config), Shape(layout.Config));
        if (model != adapter) throw new ArgumentException($"the adapter is for a model of (layers, hidden, query, key, feed-forward) {adapter}, this one has {model}", nameof(layout));
    }

    public void Dispose()
    {
        _current?.Dispose();
        _workspace?.Dispose();
        _workspace = null;
        _pass = null;
    }
}
