namespace LongCtx.Conversations.Machine;

/// <summary>The end of a conversation's token log, from the first token that is in no segment: what an owner keeps in memory.</summary>
public sealed class TokenTail
{
    readonly List<int> _ids = [];
    readonly List<(long Start, long Seq)> _events = [];
    readonly List<long> _turnStarts = [];

    /// <param name="start">Index in the log of the first token to be added.</param>
    public TokenTail(long start) => Start = start;

    /// <summary>Index in the log of the first token held.</summary>
    public long Start { get; private set; }

    public long End => Start + _ids.Count;

    /// <summary>Where turns of the chat begin, ascending, from <see cref="Start"/> on.</summary>
    public IReadOnlyList<long> TurnStarts => _turnStarts;

    /// <summary>Takes an event's tokens; those before <see cref="Start"/> are left out.</summary>
    /// <param name="seq">The event's number.</param>
    /// <param name="tokenStart">Index in the log of its first token.</param>
    /// <param name="ids">Its tokens.</param>
    /// <param name="turnStarts">Offsets in <paramref name="ids"/> at which turns begin.</param>
    public void Add(long seq, long tokenStart, ReadOnlySpan<int> ids, IReadOnlyList<int> turnStarts)
    {
        if (tokenStart + ids.Length <= End) return;
        foreach (int offset in turnStarts)
            if (tokenStart + offset >= Start) _turnStarts.Add(tokenStart + offset);
        if (tokenStart > End) throw new InvalidOperationException($"the token log has a hole: it ends at {End} and event {seq} begins at {tokenStart}");
        ids = ids[(int)(End - tokenStart)..];
        _events.Add((End, seq));
        _ids.AddRange(ids);
    }

    /// <summary>The tokens [first, end).</summary>
    /// <exception cref="ArgumentException">Some are no longer held.</exception>
    public int[] Range(long first, long end) => [.. _ids.GetRange(checked((int)(first - Start)), checked((int)(end - first)))];

    /// <summary>The event that holds a token, or <paramref name="next"/> for one that is not there yet.</summary>
    public long EventOf(long token, long next)
    {
        if (token >= End) return next;
        int at = _events.FindLastIndex(e => e.Start <= token);
        return at < 0 ? next : _events[at].Seq;
    }

    /// <summary>Forgets tokens before an index.</summary>
    public void ForgetBefore(long index)
    {
        int count = (int)Math.Clamp(index - Start, 0, _ids.Count);
        if (count == 0) return;
        _ids.RemoveRange(0, count);
        Start += count;
        _turnStarts.RemoveAll(start => start < Start);
        int passed = _events.FindLastIndex(e => e.Start <= Start);
        if (passed > 0) _events.RemoveRange(0, passed);
    }
}
