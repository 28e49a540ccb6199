using System.Collections.Concurrent;
using System.Collections.Immutable;

namespace LongCtx.Silo.Placement;

/// <summary>What this silo knows of all silos' capacity. Reading it never waits: placement does, on the path of every first call.</summary>
internal sealed class CapacityTable(TimeProvider time)
{
    /// <summary>An older record says what was, not what is; such a silo comes last.</summary>
    public static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(5);

    readonly ConcurrentDictionary<SiloAddress, (SiloCapacity Capacity, long ReceivedAt)> _records = new();

    public void Set(SiloCapacity capacity) => _records[capacity.Silo] = (capacity, time.GetTimestamp());

    /// <summary>Forgets silos that are not in the cluster any more.</summary>
    public void Keep(IEnumerable<SiloAddress> alive)
    {
        var kept = alive.ToImmutableHashSet();
        foreach (SiloAddress silo in _records.Keys.Where(s => !kept.Contains(s))) _records.TryRemove(silo, out _);
    }

    public SiloCapacity? Find(SiloAddress silo) => _records.TryGetValue(silo, out var record) ? record.Capacity : null;

    public bool IsFresh(SiloAddress silo) => _records.TryGetValue(silo, out var record) && time.GetElapsedTime(record.ReceivedAt) < FreshFor;

    public IReadOnlyList<SiloCapacity> All => [.. _records.Values.Select(r => r.Capacity)];

    /// <summary>Models that some silo computes, each once, in an order that all silos agree on.</summary>
    public IReadOnlyList<SiloModel> Models => [.. All.Where(c => !c.IsDraining).OrderBy(c => c.Silo).SelectMany(c => c.Models).DistinctBy(m => m.Tag)];
}
