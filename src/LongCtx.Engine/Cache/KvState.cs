namespace LongCtx.Engine.Cache;

/// <summary>Which of a sequence's four tables.</summary>
public enum KvTable
{
    SinksNear,
    SinksFar,
    Near,
    Far,
}

/// <summary>Blocks [<paramref name="First"/>, <paramref name="First"/> + <paramref name="Count"/>) of a table.</summary>
public readonly record struct BlockRange(long First, int Count)
{
    public long End => First + Count;

    /// <summary>Whether the blocks of the tokens [<paramref name="from"/>, <paramref name="end"/>) are among them.</summary>
    public bool Covers(long from, long end) =>
        end <= from || (from / BlockPool.BlockSize >= First && (end - 1) / BlockPool.BlockSize < End);
}

/// <summary>All that a <see cref="KvSequence"/> is, except its keys and values: from this and those it can be built anew.</summary>
/// <param name="FarFrom">Far keys before this may be missing.</param>
public sealed record KvState(
    AttentionPolicy Policy, long Count, long FarFrom, TurnStarts Turns, BlockRange SinksNear, BlockRange SinksFar, BlockRange Near, BlockRange Far)
{
    /// <summary>Far from the largest number, so that no sum overflows.</summary>
    const long CountMax = 1L << 48;

    /// <summary>What the blocks were computed under.</summary>
    public required KvAdapters Adapters { get; init; }

    public BlockRange this[KvTable table] => table switch
    {
        KvTable.SinksNear => SinksNear,
        KvTable.SinksFar => SinksFar,
        KvTable.Near => Near,
        _ => Far,
    };

    public int BlockCount => SinksNear.Count + SinksFar.Count + Near.Count + Far.Count;

    long FarCount => Policy.FarCount(Count);

    /// <summary>The tokens whose keys may ever be read from a table; the other slots of its blocks hold nothing.</summary>
    public (long From, long End) Tokens(KvTable table) => table switch
    {
        KvTable.SinksNear => (0, Math.Min(Policy.Sinks, Count)),
        KvTable.SinksFar => (0, Math.Min(Policy.Sinks, FarCount)),
        KvTable.Near => (Policy.Sinks, Count),
        _ => (Math.Max(Policy.Sinks, FarFrom), FarCount),
    };

    /// <summary>
    /// Whether every key is held that queries from index <paramref name="length"/> on would see, were all forgotten from there on. A turn that begins
    /// there is forgotten too, and what it had hidden becomes visible again.
    /// </summary>
    public bool CanTruncate(long length)
    {
        TurnStarts kept = Turns.Copy();
        kept.Truncate(length);
        return (this with { Turns = kept }).Holds(length);
    }

    /// <summary>Whether every key is held that queries from index <paramref name="length"/> on would see.</summary>
    bool Holds(long length)
    {
        if (length < 0 || length > Count) return false;
        long sinks = Policy.Sinks, farEnd = Policy.FarCount(length);
        long firstVisible = Math.Max(sinks, Policy.FirstVisible(length, Turns));
        return SinksNear.Covers(farEnd, Math.Min(sinks, length))
            && Near.Covers(Math.Max(firstVisible, farEnd), length)
            && SinksFar.Covers(0, Math.Min(sinks, farEnd))
            && Far.Covers(firstVisible, farEnd) && (firstVisible >= FarFrom || firstVisible >= farEnd);
    }

    /// <summary>Why no sequence can be like this; null when one can. The policy's own numbers are not looked at.</summary>
    public string? Problem()
    {
        if (Count is < 0 or > CountMax) return $"{Count} tokens are out of range";
        if (FarFrom is < 0 or > CountMax) return $"far keys from {FarFrom} on are out of range";
        long before = -1;
        foreach (long start in Turns.ToArray())
        {
            if (start <= before || start > CountMax) return $"a turn start at {start} is out of order or out of range";
            before = start;
        }

        foreach (KvTable table in Enum.GetValues<KvTable>())
            if (Problem(table) is { } problem) return problem;
        if (Count > 0 && !Holds(Count)) return "keys are missing that the next token sees";
        foreach (KvTable table in Enum.GetValues<KvTable>())
            if (Adapters[table].BlockCount != this[table].Count) return $"the table {table} of {this[table].Count} blocks says of {Adapters[table].BlockCount} under which adapter they were computed";
        return null;
    }

    string? Problem(KvTable table)
    {
        (long from, long end) = table == KvTable.Far ? (Policy.Sinks, FarCount) : Tokens(table);
        BlockRange blocks = this[table];
        if (blocks.Count == 0) return blocks.First is < 0 or > CountMax ? $"the table {table} begins at block {blocks.First}" : null;
        long lastBlock = (end - 1) / BlockPool.BlockSize;
        bool fits = end > from && blocks.Count > 0 && blocks.First >= from / BlockPool.BlockSize && blocks.First <= lastBlock && blocks.Count == lastBlock + 1 - blocks.First;
        return fits ? null : $"the table {table} of {blocks.Count} blocks from {blocks.First} on does not fit its tokens {from} to {end}";
    }
}
