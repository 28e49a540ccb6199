using System.Numerics.Tensors;

namespace LongCtx.Engine.Sampling;

/// <summary>
/// Draws the next token of one generation. Order: repetition penalty on the model's logit (its sign matters), presence and frequency
/// penalty, bias; temperature, top-k, top-p, min-p; draw. The only random number is Philox(seed, token index), so there is no hidden state.
/// Holds its buffers, so a call allocates nothing; not for two threads at once.
/// </summary>
public sealed class Sampler
{
    readonly SamplingOptions _options;
    readonly int _vocabulary;
    readonly int[] _biasIds;
    readonly float[] _biases;
    readonly ushort[] _counts; // occurrences in the penalty window by token id; all 0 between calls
    readonly float[] _logits;
    readonly Candidates _candidates;

    public Sampler(SamplingOptions options, int vocabulary)
    {
        options.Validate();
        _options = options;
        _vocabulary = vocabulary;
        _biasIds = options.LogitBias?.Keys.ToArray() ?? [];
        _biases = Array.ConvertAll(_biasIds, id => options.LogitBias![id]);
        foreach (int id in _biasIds)
            if (id >= vocabulary)
                throw new LongCtxException(ErrorCode.InvalidRequest, $"logit_bias names token {id}; this model has tokens 0 to {vocabulary - 1}.", "logit_bias");
        _counts = new ushort[vocabulary];
        _logits = new float[vocabulary];
        _candidates = new Candidates(vocabulary);
    }

    /// <summary>The token at <paramref name="tokenIndex"/> of the sequence, given the model's logits for it; those stay as they are.</summary>
    /// <param name="logits">(vocabulary).</param>
    /// <param name="recent">The tokens before it.</param>
    /// <param name="tokenIndex">Absolute, 0 is the first token of the sequence.</param>
    public int Sample(ReadOnlySpan<float> logits, PenaltyWindow recent, long tokenIndex)
    {
        if (logits.Length != _vocabulary) throw new ArgumentException($"{logits.Length} logits for a vocabulary of {_vocabulary}.", nameof(logits));
        float max = Max(logits, tokenIndex);
        if (HasPenalties || _biasIds.Length > 0)
        {
            logits.CopyTo(_logits);
            if (HasPenalties) Penalise(recent);
            for (int i = 0; i < _biasIds.Length; i++) _logits[_biasIds[i]] += _biases[i];
            logits = _logits;
            max = TensorPrimitives.Max(logits);
        }
        if (_options.Temperature == 0) return Candidates.IndexOf(logits, max);

        _candidates.Load(logits, max, _options.Temperature);
        if (_options.TopK > 0) _candidates.KeepCount(_options.TopK);
        if (_options.TopP < 1) _candidates.KeepMass(_options.TopP);
        if (_options.MinP > 0) _candidates.KeepWeight(_options.MinP);
        return _candidates.Draw(Philox.Uniform(_options.Seed, tokenIndex));
    }

    bool HasPenalties => _options.RepetitionPenalty != 1 || _options.PresencePenalty != 0 || _options.FrequencyPenalty != 0;

    void Penalise(PenaltyWindow recent)
    {
        recent.Newest(_options.PenaltyWindow, out ReadOnlySpan<int> first, out ReadOnlySpan<int> second);
        foreach (int token in first) _counts[token]++;
        foreach (int token in second) _counts[token]++;
        PenaliseOnce(first);
        PenaliseOnce(second);
    }

    // Each distinct token once: its count goes back to 0 with it.
    void PenaliseOnce(ReadOnlySpan<int> tokens)
    {
        foreach (int token in tokens)
        {
            int count = _counts[token];
            if (count == 0) continue;
            _counts[token] = 0;
            float logit = _logits[token];
            logit = logit > 0 ? logit / _options.RepetitionPenalty : logit * _options.RepetitionPenalty;
            logit -= _options.PresencePenalty + count * _options.FrequencyPenalty;
            _logits[token] = Math.Clamp(logit, float.MinValue, float.MaxValue); // a tiny repetition penalty must not make an infinity
        }
    }

    static float Max(ReadOnlySpan<float> logits, long tokenIndex)
    {
        // Both carry a NaN on.
        float max = TensorPrimitives.Max(logits), min = TensorPrimitives.Min(logits);
        if (float.IsFinite(max) && float.IsFinite(min)) return max;
        throw new LongCtxException(ErrorCode.EngineFailure,
            $"The model's logits for token {tokenIndex} are not all finite ({min} to {max}): the model file is damaged or its quantisation overflows. Check its checksum or use another file.");
    }
}
