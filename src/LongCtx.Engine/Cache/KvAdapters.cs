namespace LongCtx.Engine.Cache;

/// <summary>Blocks of a table, one after another, whose first keys were computed under one adapter version.</summary>
/// <param name="Digest">Empty for the base.</param>
/// <param name="Count">Blocks; at least 1.</param>
public readonly record struct AdapterRun(string Digest, int Count);

/// <summary>What all blocks of a table were computed under, in their order.</summary>
public sealed class AdapterRuns(IReadOnlyList<AdapterRun> runs) : IEquatable<AdapterRuns>
{
    public IReadOnlyList<AdapterRun> Runs { get; } = runs;

    public long BlockCount => Runs.Sum(run => (long)run.Count);

    public bool Equals(AdapterRuns? other) => other is not null && Runs.SequenceEqual(other.Runs);

    public override bool Equals(object? obj) => Equals(obj as AdapterRuns);

    public override int GetHashCode() => Runs.Aggregate(0, HashCode.Combine);
}

/// <summary>The adapter versions of a sequence's blocks, table by table.</summary>
public sealed record KvAdapters(AdapterRuns SinksNear, AdapterRuns SinksFar, AdapterRuns Near, AdapterRuns Far)
{
    public AdapterRuns this[KvTable table] => table switch
    {
        KvTable.SinksNear => SinksNear,
        KvTable.SinksFar => SinksFar,
        KvTable.Near => Near,
        _ => Far,
    };
}
