using LongCtx.Engine.Cache;
using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Scheduling;

/// <summary>Sequences between generations: pinned, idle in the cache, or given up.</summary>
internal sealed partial class ModelScheduler
{
    public Sequence? Reuse(Sequence source, long length, ReadOnlySpan<int> newest)
    {
        if (source.IsDropped || length <= 0 || length > source.Count) return null;
        if (source.User is null && !source.IsPinned && length == source.Count)
        {
            Pin(source);
            return source;
        }

        long cached = Math.Min(length, source.Cache.Count); // the token sampled last is not in the cache
        if (!source.Cache.CanTruncate(cached)) return null;
        if (length > cached && source.Pending < 0) return null;
        KvSequence cache = source.Cache.Fork();
        if (source.User is not null && !MakeRoom(newcomer: null))
        {
            cache.Dispose(); // what the source lets go of while the fork holds it would be missing in the pool
            return null;
        }

        cache.Truncate(cached);
        PenaltyWindow recent = length == source.Count ? source.Recent.Fork() : new(newest, length);
        var fork = new Sequence(engine, Model, source.Policy, cache, recent) { Pending = length > cached ? source.Pending : -1 };
        fork.UpdateState();
        return fork;
    }

    void Pin(Sequence sequence)
    {
        sequence.IsPinned = true;
        _idle.Remove(sequence);
    }

    public void Unpin(Sequence sequence)
    {
        if (sequence.IsDropped)
        {
            Free(sequence);
            return;
        }

        if (sequence.User is not null || !sequence.IsPinned) return;
        sequence.IsPinned = false;
        _idle.Add(sequence);
    }

    public void Free(Sequence sequence)
    {
        sequence.User?.Cancel();
        sequence.IsPinned = false;
        sequence.IsDropped = true;
        _idle.Remove(sequence);
        sequence.Pins.Clear();
        sequence.Cache.Dispose();
        PublishBlocksUsed();
    }
}
