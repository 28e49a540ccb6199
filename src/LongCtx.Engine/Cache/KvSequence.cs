using System.Diagnostics;
using LongCtx.Engine.Adapters;

namespace LongCtx.Engine.Cache;

/// <summary>
/// The cache of one sequence as block tables: which keys are held, and in which rotation. The runner writes and reads the memory.
/// </summary>
/// <remarks>
/// Sinks live in blocks of their own, apart from the rest, and far keys (rotated a second time, G > 1 only) apart from near ones:
/// <code>
///   SinksNear [0, S)  rotated by j          Near [.., Count)       rotated by j
///   SinksFar  [0, S)  rotated by floor(j/G) Far  [.., Count - W)   rotated by floor(j/G)
/// </code>
/// A step is <see cref="TryReserve"/> → the runner writes [Count, Count + n) and the far copies of [CrossingStart, FarCount after) →
/// <see cref="Commit"/>. Nothing is released before the commit, so the last tokens of a step can be left uncommitted.
/// </remarks>
public sealed class KvSequence : IDisposable
{
    readonly BlockPool _pool;
    int _adapter; // tag, held
    long _farFrom; // far keys before this may be missing: they were evicted before they could cross

    public KvSequence(BlockPool pool, AttentionPolicy policy)
        : this(pool, policy, new(), new(pool), new(pool), new(pool), new(pool))
    {
    }

    KvSequence(BlockPool pool, AttentionPolicy policy, TurnStarts turns, BlockTable sinksNear, BlockTable sinksFar, BlockTable near, BlockTable far)
    {
        _pool = pool;
        Policy = policy;
        Turns = turns;
        SinksNear = sinksNear;
        SinksFar = sinksFar;
        Near = near;
        Far = far;
    }

    public AttentionPolicy Policy { get; }

    /// <summary>Where the turns of a chat begin; empty for plain text.</summary>
    public TurnStarts Turns { get; private set; }

    /// <summary>The adapter version that the next tokens are computed under; null for the base. What is cached stays as it is.</summary>
    public LoraWeights? Adapter
    {
        get;
        set
        {
            if (ReferenceEquals(field, value)) return;
            int tag = value is null ? AdapterTags.Base : _pool.Adapters.Acquire(value.Digest);
            _pool.Adapters.Release(_adapter);
            (field, _adapter) = (value, tag);
        }
    }

    /// <summary>Of <see cref="Adapter"/>, in the pool.</summary>
    internal int AdapterTag => _adapter;

    /// <summary>
    /// Digest of the version under which the oldest key of the window was computed, as its block says; empty for the base. The sinks, which
    /// stay for ever, are left out.
    /// </summary>
    public string OldestAdapter => _pool.Adapters.DigestOf(Far.Count > 0 ? _pool.AdapterOf(Far.Ids[0]) : Near.Count > 0 ? _pool.AdapterOf(Near.Ids[0]) : _adapter);

    /// <summary>Tokens whose keys and values have been committed.</summary>
    public long Count { get; private set; }

    /// <summary>Keys [0, FarCount) have crossed the neighbour boundary; 0 for G = 1.</summary>
    public long FarCount => FarCountAt(Count);

    public BlockTable SinksNear { get; }

    public BlockTable SinksFar { get; }

    public BlockTable Near { get; }

    public BlockTable Far { get; }

    public BlockTable this[KvTable table] => table switch
    {
        KvTable.SinksNear => SinksNear,
        KvTable.SinksFar => SinksFar,
        KvTable.Near => Near,
        _ => Far,
    };

    public int BlocksHeld => SinksNear.Count + SinksFar.Count + Near.Count + Far.Count;

    /// <summary>
    /// How much of what the sequence may come to need it has already. A shared block counts only where it is never released and never
    /// written again: otherwise the sequence will need another one while somebody else still holds this one.
    /// </summary>
    public int BlocksSecured
    {
        get
        {
            return Kept(SinksNear) + Kept(SinksFar)
                + (Policy.IsUnlimited ? Kept(Far) : Far.OwnedCount)
                + (Policy.IsUnlimited && Policy.Group == 1 ? Kept(Near) : Near.OwnedCount);

            static int Kept(BlockTable table) => table.Count - (table.IsLastShared ? 1 : 0);
        }
    }

    /// <summary>How many keys are far for every query at or after <paramref name="count"/> - 1.</summary>
    public long FarCountAt(long count) => Policy.FarCount(count);

    /// <summary>
    /// The first key that crosses the neighbour boundary in the next step. In a chat the window may end at a turn inside the neighbour
    /// window; what lies before it is gone and never crosses.
    /// </summary>
    public long CrossingStart => FarCount < Policy.Sinks ? FarCount : Math.Max(FarCount, Policy.FirstVisible(Count, Turns));

    /// <summary>Blocks that the next <paramref name="tokens"/> tokens need from the pool.</summary>
    public int BlocksNeeded(int tokens)
    {
        long end = Count + tokens, sinks = Policy.Sinks, farEnd = FarCountAt(end);
        return SinksNear.Missing(Count, Math.Min(end, sinks)) + Near.Missing(Math.Max(Count, sinks), end)
            + SinksFar.Missing(CrossingStart, Math.Min(farEnd, sinks)) + Far.Missing(Math.Max(CrossingStart, sinks), farEnd);
    }

    /// <summary>
    /// Makes room for <paramref name="tokens"/> more tokens. Shared blocks that will be written are replaced; the runner has to copy
    /// their memory first: (source id, destination id) in <paramref name="copies"/>. False, and nothing changed, when the pool has too few.
    /// </summary>
    public bool TryReserve(int tokens, List<(int Source, int Destination)> copies)
    {
        if (BlocksNeeded(tokens) > _pool.FreeCount) return false;
        long end = Count + tokens, sinks = Policy.Sinks, farEnd = FarCountAt(end);
        SinksNear.Extend(Count, Math.Min(end, sinks), _adapter, rotatedFrom: null, copies);
        Near.Extend(Math.Max(Count, sinks), end, _adapter, rotatedFrom: null, copies);
        SinksFar.Extend(CrossingStart, Math.Min(farEnd, sinks), _adapter, SinksNear, copies);
        Far.Extend(Math.Max(CrossingStart, sinks), farEnd, _adapter, Near, copies);
        if (CrossingStart > FarCount) _farFrom = CrossingStart;
        return true;
    }

    /// <summary>Accepts the first <paramref name="tokens"/> tokens written since the last commit, and gives back what the next query cannot see.</summary>
    public void Commit(int tokens)
    {
        Count += tokens;
        ReleaseUnused();
    }

    void ReleaseUnused()
    {
        SinksNear.ReleaseFrom(Math.Min(Count, Policy.Sinks)); // what was reserved and not accepted
        SinksFar.ReleaseFrom(Math.Min(FarCount, Policy.Sinks));
        Near.ReleaseFrom(Count <= Policy.Sinks ? 0 : Count);
        Far.ReleaseFrom(FarCount <= Policy.Sinks ? 0 : FarCount);
        long firstVisible = Policy.FirstVisible(Count, Turns); // of the next query
        Near.ReleaseBefore(firstVisible);
        Far.ReleaseBefore(firstVisible);
        Turns.ForgetBefore(firstVisible);
        if (Policy.Group == 1) return;
        Near.ReleaseBefore(FarCount); // the key at FarCount crosses in the next step, so it is still read
        if (FarCount >= Policy.Sinks) SinksNear.ReleaseBefore(Policy.Sinks + BlockPool.BlockSize - 1);
    }

    /// <summary>What it is now, as long as it does not change.</summary>
    public KvState State => new(Policy, Count, _farFrom, Turns, SinksNear.Range, SinksFar.Range, Near.Range, Far.Range)
    {
        Adapters = new(SinksNear.Adapters, SinksFar.Adapters, Near.Adapters, Far.Adapters),
    };

    /// <summary>A sequence of that state; its blocks are fresh ones, still to be filled.</summary>
    /// <exception cref="InvalidOperationException">The pool has fewer than <see cref="KvState.BlockCount"/> free blocks.</exception>
    public static KvSequence Restore(BlockPool pool, KvState state)
    {
        Debug.Assert(state.Problem() is null, "ask Problem first");
        if (state.BlockCount > pool.FreeCount) throw new InvalidOperationException($"{state.BlockCount} blocks are needed and {pool.FreeCount} are free");
        return new(pool, state.Policy, state.Turns.Copy(), Table(KvTable.SinksNear), Table(KvTable.SinksFar), Table(KvTable.Near), Table(KvTable.Far))
        {
            Count = state.Count,
            _farFrom = state.FarFrom,
        };

        BlockTable Table(KvTable table) => new(pool, state[table], state.Adapters[table]);
    }

    /// <summary>Whether every key is still held that queries from index <paramref name="length"/> on would see after <see cref="Truncate"/>.</summary>
    public bool CanTruncate(long length) => length == 0 || State.CanTruncate(length);

    /// <summary>Forgets all tokens from index <paramref name="length"/> on.</summary>
    public void Truncate(long length)
    {
        Debug.Assert(CanTruncate(length), "ask CanTruncate first");
        Count = length;
        Turns.Truncate(length);
        ReleaseUnused();
    }

    /// <summary>A second sequence with the same tokens; all blocks are shared until one of the two writes into them.</summary>
    public KvSequence Fork() =>
        new(_pool, Policy, Turns.Copy(), SinksNear.Share(), SinksFar.Share(), Near.Share(), Far.Share()) { Count = Count, _farFrom = _farFrom, Adapter = Adapter };

    public void Dispose()
    {
        SinksNear.ReleaseFrom(0);
        SinksFar.ReleaseFrom(0);
        Near.ReleaseFrom(0);
        Far.ReleaseFrom(0);
        Adapter = null;
        Count = 0;
        Turns = new();
    }
}
