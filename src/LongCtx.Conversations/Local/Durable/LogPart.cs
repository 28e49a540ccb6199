using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Local;

/// <summary>A range of a conversation's token log, with the turns that begin in it.</summary>
/// <param name="Start">Index in the log of the first token.</param>
/// <param name="TurnStarts">Indices in the log, ascending.</param>
internal sealed record LogPart(long Start, int[] Ids, long[] TurnStarts)
{
    /// <summary>Events read at a time.</summary>
    const int PageEvents = 512;

    public long End => Start + Ids.Length;

    public static LogPart Of(TokenTail tail) => new(tail.Start, tail.Range(tail.Start, tail.End), [.. tail.TurnStarts]);

    /// <summary>The part from an index on.</summary>
    public LogPart From(long index) =>
        index == Start ? this : new(index, Ids[(int)(index - Start)..], [.. TurnStarts.SkipWhile(start => start < index)]);

    /// <summary>The part before an index.</summary>
    public LogPart Until(long end) => end >= End ? this : new(Start, Ids[..(int)(end - Start)], [.. TurnStarts.TakeWhile(start => start < end)]);

    /// <summary>Turn starts as offsets in <see cref="Ids"/>, as the engine takes them.</summary>
    public int[] TurnOffsets() => [.. TurnStarts.Select(start => (int)(start - Start))];

    /// <summary>Reads the log from token <paramref name="first"/> to <paramref name="end"/>; no event up to <paramref name="afterSeq"/> holds any of them.</summary>
    /// <exception cref="StoreException">Events are missing: they were trimmed, or the store lost them.</exception>
    public static async ValueTask<LogPart> ReadAsync(IConversationStore store, ConversationKey key, long afterSeq, long first, long end, CancellationToken cancellation)
    {
        TokenTail tail = await ReadTailAsync(store, key, afterSeq, first, end, cancellation).ConfigureAwait(false);
        return Of(tail).Until(end); // the log may have grown meanwhile
    }

    /// <summary>A sequence number that no event with tokens at or behind <paramref name="token"/> has or precedes; found by halving.</summary>
    /// <param name="head">Of the newest event.</param>
    public static async ValueTask<long> FirstEventAsync(IConversationStore store, ConversationKey key, long token, long head, CancellationToken cancellation)
    {
        long low = 0, high = head;
        while (low < high)
        {
            long middle = (low + high) / 2;
            var page = await store.ReadAsync(key, middle, 1, cancellation).ConfigureAwait(false);
            if (page.Count > 0 && JournalRecords.ToEvent(page[0]) is { } e && e.TokenStart + e.TokenCount <= token) low = middle + 1;
            else high = middle;
        }

        return low;
    }

    /// <summary>The same, to go on with.</summary>
    public static async ValueTask<TokenTail> ReadTailAsync(IConversationStore store, ConversationKey key, long afterSeq, long first, long end, CancellationToken cancellation)
    {
        var tail = new TokenTail(first);
        while (tail.End < end)
        {
            IReadOnlyList<StoredEvent> page = await store.ReadAsync(key, afterSeq, PageEvents, cancellation).ConfigureAwait(false);
            foreach (StoredEvent stored in page)
            {
                afterSeq = stored.Seq;
                if (stored.Tokens.Length == 0) continue;
                ConversationEvent e = JournalRecords.ToEvent(stored);
                if (e.TokenStart > tail.End && e.TokenStart + e.TokenCount > first) throw Missing(tail.End);
                tail.Add(e.Seq, e.TokenStart, stored.Tokens.Span, e is TurnAccepted a ? a.TurnStarts : e is InputAppended i ? i.TurnStarts : []);
            }

            if (page.Count < PageEvents) break;
        }

        return tail.End >= end ? tail : throw Missing(tail.End);

        StoreException Missing(long token) => new($"the journal of {key.Id} has no token {token} (of {end}): its older events were trimmed, or the store lost them", false);
    }
}
