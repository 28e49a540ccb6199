using System.Diagnostics;
using LongCtx.Engine.Adapters;

namespace LongCtx.Engine.Training;

/// <summary>
/// One update of an adapter, as far as it has come: some steps of the optimiser on one chunk. The work is a sequence of units of a few
/// milliseconds at most, so that it fits between the steps of other conversations. Disposing an unfinished run discards it.
/// </summary>
public sealed unsafe class TrainingRun : IDisposable
{
    readonly TrainingPass _pass;
    readonly LoraState _before, _candidate;
    readonly TrainingChunk _chunk;
    readonly TrainingOptions _options;
    readonly TrainingFlops _flopsBefore;
    readonly List<double> _losses = [], _norms = [];
    readonly IEnumerator<TrainingUnit> _units;
    double? _baseLoss, _heldOutBefore, _heldOutAfter;
    double _squaredNorm;
    string? _rejection;
    TrainingResult? _result;
    bool _disposed;

    internal TrainingRun(TrainingPass pass, LoraState state, TrainingChunk chunk, TrainingOptions options)
    {
        (_pass, _before, _chunk, _options, _flopsBefore) = (pass, state, chunk, options, pass.Flops);
        _candidate = state.Copy(state.Steps + options.Epochs, state.Chunks + 1);
        _units = Units().GetEnumerator();
    }

    public bool HasEnded => _disposed || _result is not null;

    /// <summary>What became of it.</summary>
    /// <exception cref="InvalidOperationException">It has not ended, or was discarded.</exception>
    public TrainingResult Result => _result ?? throw new InvalidOperationException("the training run has no result: it has not ended, or was discarded");

    /// <summary>Works until the time is up, at least one unit.</summary>
    /// <returns>Whether the run has ended.</returns>
    public bool Slice(TimeSpan budget)
    {
        long started = Stopwatch.GetTimestamp();
        while (Advance(out _))
            if (Stopwatch.GetElapsedTime(started) >= budget) return false;
        return true;
    }

    /// <summary>One unit; false: there is none left.</summary>
    internal bool Advance(out TrainingUnit unit)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        bool isOne = _result is null && _units.MoveNext();
        unit = isOne ? _units.Current : default;
        if (!isOne) _result ??= End();
        return isOne;
    }

    IEnumerable<TrainingUnit> Units()
    {
        if (_options.ScoresBase)
        {
            _pass.Begin(null, _chunk.FirstLabel, _chunk.HeldOut, default);
            foreach (TrainingUnit unit in _pass.Forward(_chunk.Tokens)) yield return unit;
            foreach (TrainingUnit unit in _pass.CrossEntropy(_chunk.Tokens, 0, withGradients: false)) yield return unit;
            _baseLoss = _pass.Loss;
        }

        if (_chunk.HeldOut > 0)
        {
            foreach (TrainingUnit unit in HeldOut(_before)) yield return unit;
            _heldOutBefore = _pass.HeldOutLoss;
        }

        for (int epoch = 0; epoch < _options.Epochs && _rejection is null; epoch++)
        {
            long step = _before.Steps + epoch;
            _pass.Begin(_candidate.Weights, _chunk.FirstLabel, _chunk.HeldOut, _options.Dropout > 0 ? new Dropout(_before.Seed, step, _options.Dropout) : default);
            foreach (TrainingUnit unit in _pass.Forward(_chunk.Tokens)) yield return unit;
            foreach (TrainingUnit unit in _pass.CrossEntropy(_chunk.Tokens, 0, withGradients: true)) yield return unit;
            _losses.Add(_pass.Loss);
            if ((_rejection = Divergence()) is not null) break;
            foreach (TrainingUnit unit in _pass.Backward()) yield return unit;
            foreach (TrainingUnit unit in SquaredNorm(_pass.Gradient!)) yield return unit;
            double norm = Math.Sqrt(_squaredNorm);
            _norms.Add(norm);
            if (!double.IsFinite(norm))
            {
                _rejection = $"the gradient of step {epoch + 1} of {_options.Epochs} is not finite";
                break;
            }

            foreach (TrainingUnit unit in Update(norm, step + 1)) yield return unit;
            foreach (TrainingUnit unit in SquaredNorm(_candidate.Weights)) yield return unit;
            if (!double.IsFinite(_squaredNorm)) _rejection = $"step {epoch + 1} of {_options.Epochs} made the adapter's numbers infinite: lower the learning rate of {_options.LearningRate}";
        }

        if (_rejection is not null || _chunk.HeldOut == 0) yield break;
        foreach (TrainingUnit unit in HeldOut(_candidate)) yield return unit;
        _heldOutAfter = _pass.HeldOutLoss;
        if (!(_heldOutAfter <= _heldOutBefore)) _rejection = $"the {_chunk.HeldOut} held-out tokens became less likely: {_heldOutAfter:F4} nats after {_heldOutBefore:F4}";
    }

    /// <summary>Held-out tokens under a version as it is used, without dropout.</summary>
    IEnumerable<TrainingUnit> HeldOut(LoraState state)
    {
        _pass.Begin(state.Weights, _chunk.FirstLabel, _chunk.HeldOut, default);
        foreach (TrainingUnit unit in _pass.Forward(_chunk.Tokens)) yield return unit;
        foreach (TrainingUnit unit in _pass.CrossEntropy(_chunk.Tokens, _chunk.LabelCount, withGradients: false)) yield return unit;
    }

    /// <summary>A loss beyond that of the first step and of guessing alike is no learning.</summary>
    string? Divergence()
    {
        double loss = _losses[^1], guessing = Math.Log(_pass.VocabularySize);
        if (!double.IsFinite(loss)) return $"the loss of step {_losses.Count} of {_options.Epochs} is not finite";
        return _losses.Count > 1 && loss > _losses[0] && loss > guessing
            ? $"the loss diverged from {_losses[0]:F4} to {loss:F4} nats, above {guessing:F4} of a uniform guess: lower the learning rate of {_options.LearningRate}"
            : null;
    }

    const long PartFloats = 1 << 14;
    const int PartsPerUnit = 64; // a million numbers

    /// <summary>Sets _squaredNorm, a sum over parts in their order.</summary>
    IEnumerable<TrainingUnit> SquaredNorm(LoraWeights numbers)
    {
        _squaredNorm = 0;
        var sums = new double[PartsPerUnit];
        foreach ((long first, int parts) in Parts())
        {
            _pass.Run(parts, (part, _) => sums[part] = SquaredNorm(numbers, first + part * PartFloats));
            foreach (double sum in sums.AsSpan(0, parts)) _squaredNorm += sum;
            yield return TrainingUnit.SquaredNorm;
        }
    }

    double SquaredNorm(LoraWeights numbers, long at) => AdamW.SquaredNorm(numbers.Pointer + at, PartEnd(at) - at);

    IEnumerable<TrainingUnit> Update(double norm, long step)
    {
        double clip = _options.GradientClip is { } max && norm > max ? max / norm : 1;
        var optimizer = new AdamW(_options, LearningRate, step, clip);
        foreach ((long first, int parts) in Parts())
        {
            _pass.Run(parts, (part, _) => Update(optimizer, first + part * PartFloats));
            yield return TrainingUnit.Optimizer;
        }
    }

    void Update(AdamW optimizer, long at) => optimizer.Update(
        _candidate.Weights.Pointer + at, _pass.Gradient!.Pointer + at, _candidate.FirstMoment.Pointer + at, _candidate.SecondMoment.Pointer + at, PartEnd(at) - at);

    long PartEnd(long at) => Math.Min(at + PartFloats, _before.Layout.Count);

    /// <summary>The numbers of the adapter, cut into units: (first number, parts).</summary>
    IEnumerable<(long First, int Parts)> Parts()
    {
        for (long first = 0, count = _before.Layout.Count; first < count; first += PartsPerUnit * PartFloats)
            yield return (first, (int)Math.Min(PartsPerUnit, (count - first + PartFloats - 1) / PartFloats));
    }

    double LearningRate => _options.LearningRateAt(_before.Chunks);

    TrainingResult End() => new()
    {
        State = _rejection is null ? _candidate : null,
        Rejection = _rejection,
        Losses = _losses,
        BaseLoss = _baseLoss,
        GradientNorms = _norms,
        HeldOutBefore = _heldOutBefore,
        HeldOutAfter = _heldOutAfter,
        LearningRate = LearningRate,
        TokensTrained = (long)_norms.Count * _chunk.LabelCount,
        Flops = new(_pass.Flops.Forward - _flopsBefore.Forward, _pass.Flops.Backward - _flopsBefore.Backward, _pass.Flops.LowRank - _flopsBefore.LowRank),
    };

    public void Dispose()
    {
        _disposed = _result is null;
        _units.Dispose();
    }
}
