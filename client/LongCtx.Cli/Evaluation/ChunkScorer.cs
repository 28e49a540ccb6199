using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Runtime;

namespace LongCtx.Cli.Evaluation;

/// <summary>
/// Scores a text chunk by chunk, each behind what stands before it: under a policy as one endless sequence, or behind a context that is computed anew, which may
/// serve further chunks before that (the cache reuse of With Greater Text Comes Greater Necessity).
/// </summary>
/// <param name="runner">Computes.</param>
/// <param name="text">The whole text.</param>
/// <param name="policy">Null: contexts are computed anew.</param>
/// <param name="context">Tokens of such a context; at least 1.</param>
/// <param name="reuse">Further chunks that its cache grows over.</param>
internal sealed class ChunkScorer(IModelRunner runner, int[] text, AttentionPolicy? policy, int context, int reuse) : IDisposable
{
    readonly StepBatch _batch = new();
    KvSequence? _sequence; // holds everything up to but not the token before the next chunk
    int _scored;

    /// <summary>Tokens computed so far and the keys that they saw.</summary>
    public (long Tokens, long Keys) Work { get; private set; }

    /// <summary>The cache as it stands before the chunk's first prediction: its next token is the one before the chunk.</summary>
    public KvSequence Before(int start, LoraWeights? adapter)
    {
        if (_sequence is null || (policy is null && _scored > reuse))
        {
            _sequence?.Dispose();
            (_sequence, _scored) = (new(runner.Pool, policy ?? new PolicyOptions("full").Resolve(int.MaxValue, 0, allowBeyondReach: true)) { Adapter = adapter }, 0);
            for (int at = policy is null ? Math.Max(0, start - context) : 0; at < start - 1;) at += Feed(text.AsSpan(at..(start - 1)));
        }

        _sequence.Adapter = adapter;
        return _sequence;
    }

    /// <summary>Negative log-likelihood of a chunk in nats, under an adapter or without one.</summary>
    public double Score(int start, int count, LoraWeights? adapter)
    {
        KvSequence sequence = Before(start, adapter);
        double nll = 0;
        for (int done = 0; done < count;)
        {
            int step = Math.Min(count - done, runner.StepTokensMax), from = start - 1 + done;
            _batch.Clear();
            int entry = _batch.AddScored(sequence, text.AsSpan(from, step), text.AsSpan(from + 1, step));
            Compute(sequence, step);
            foreach (float logprob in _batch.Logprobs(entry)) nll -= logprob;
            done += step;
        }

        _scored++;
        return nll;
    }

    int Feed(ReadOnlySpan<int> tokens)
    {
        tokens = tokens[..Math.Min(tokens.Length, runner.StepTokensMax)];
        _batch.Clear();
        _batch.Add(_sequence!, tokens, LogitsKind.None);
        Compute(_sequence!, tokens.Length);
        return tokens.Length;
    }

    void Compute(KvSequence sequence, int tokens)
    {
        long keys = 0;
        for (long query = sequence.Count; query < sequence.Count + tokens; query++) keys += sequence.Policy.VisibleCount(query, sequence.Turns);
        Work = (Work.Tokens + tokens, Work.Keys + keys);
        runner.Step(_batch);
    }

    public void Dispose()
    {
        _sequence?.Dispose();
        _batch.Dispose();
    }
}
