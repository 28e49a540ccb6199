namespace LongCtx.Conversations.Local;

/// <summary>
/// Gives each prompt the sequence that leaves the fewest tokens to compute: one that is in the pool, a fork of one, or a new one.
/// </summary>
/// <param name="cache">What is in the pool.</param>
/// <param name="reuse">A pinned sequence with exactly the first tokens of a cached one; null when keys it would need are gone. It is also
/// told the last of these tokens, which penalties look at.</param>
internal sealed class PromptStarter<T>(PromptCache<T> cache, Func<T, int, ReadOnlyMemory<int>, ValueTask<T?>> reuse) where T : class
{
    /// <summary>Keeps a request from asking the engine about every old sequence.</summary>
    const int AttemptsMax = 8;

    /// <summary>Fewer common tokens than this, without a common message, are not worth a fork.</summary>
    const int CommonTokensMin = 16;

    /// <param name="scope">Whose sequences may be used.</param>
    /// <param name="chain">The request's messages; none for a raw text.</param>
    /// <param name="create">A new, empty sequence.</param>
    /// <param name="tailBehind">The tokens of the prompt behind a mark that fits; null where the template does not allow to continue there.</param>
    /// <param name="cancellation">Stops the search.</param>
    public async ValueTask<PromptLease<T>> StartAsync(
        PromptScope scope, MessageChain chain, Func<T> create, Func<PromptMark, PromptTail?> tailBehind, CancellationToken cancellation)
    {
        var tails = new Dictionary<(int Messages, string? Beyond), PromptTail?>();
        PromptTail? Tail(PromptMark mark)
        {
            if (!tails.TryGetValue((mark.Messages, mark.Beyond), out var tail)) tails[(mark.Messages, mark.Beyond)] = tail = tailBehind(mark);
            return tail;
        }

        var candidates = cache.Match(scope, chain);
        for (int attempt = 0; attempt < AttemptsMax && Choose(candidates, chain, Tail) is { } best;)
        {
            cancellation.ThrowIfCancellationRequested();
            candidates.Remove(best.Candidate);
            var (entry, mark) = (best.Candidate.Entry, best.Candidate.Mark);
            int length = mark.Tokens + best.Common;
            if (length == 0 || (mark.Messages == 0 && length < CommonTokensMin) || !cache.TryEnter(entry)) continue;

            attempt++;
            T? sequence = null;
            try
            {
                sequence = await reuse(entry.Sequence, length, cache.Newest(entry, length, SamplingOptions.PenaltyWindowMax)).ConfigureAwait(false);
            }
            finally
            {
                if (!ReferenceEquals(sequence, entry.Sequence)) cache.Leave(entry);
            }

            if (ReferenceEquals(sequence, entry.Sequence)) return new(cache, scope, chain, sequence, entry, [], [], mark.Tokens, length, best.Tail);
            if (sequence is not null)
            {
                var (ids, marks) = cache.Beginning(entry, mark, length);
                return new(cache, scope, chain, sequence, null, ids, marks, mark.Tokens, length, best.Tail);
            }
            // What has left the window is missing for every shorter beginning too, except one that the sinks hold.
            if (length > scope.Policy.Sinks && cache.Within(best.Candidate, chain, scope.Policy.Sinks) is { } sinks) candidates.Add(sinks);
        }

        var whole = Tail(PromptMark.Start);
        return new(cache, scope, chain, create(), null, [], [PromptMark.Start], 0, 0, whole!);
    }

    /// <summary>Of the candidates that share the most messages the one that leaves the fewest tokens; null when there are none.</summary>
    (PromptCache<T>.Candidate Candidate, PromptTail Tail, int Common)? Choose(
        List<PromptCache<T>.Candidate> candidates, MessageChain chain, Func<PromptMark, PromptTail?> tailBehind)
    {
        while (candidates.Count > 0)
        {
            int messages = candidates.Max(c => c.Mark.Messages);
            (PromptCache<T>.Candidate Candidate, PromptTail Tail, int Common)? best = null;
            foreach (var candidate in candidates.FindAll(c => c.Mark.Messages == messages))
            {
                if (tailBehind(candidate.Mark) is { Ids.Length: > 0 } tail)
                {
                    int common = Math.Min(cache.CommonLength(candidate, tail.Ids), tail.Ids.Length - 1); // one token must be left to feed
                    if (best is null || tail.Ids.Length - common < best.Value.Tail.Ids.Length - best.Value.Common) best = (candidate, tail, common);
                    continue;
                }
                candidates.Remove(candidate);
                if (cache.Shorter(candidate, chain) is { } shorter) candidates.Add(shorter);
            }
            if (best is not null) return best;
        }
        return null;
    }
}
