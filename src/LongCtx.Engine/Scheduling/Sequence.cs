using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Scheduling;

/// <summary>
/// One stream of tokens and its cache, owned by the engine thread; this is the handle. A pinned sequence keeps its blocks; a released one
/// stays cached until the pool needs them (least recently used first).
/// </summary>
public sealed class Sequence
{
    readonly InferenceEngine _engine;

    internal Sequence(InferenceEngine engine, DecoderModel model, AttentionPolicy policy, KvSequence cache, PenaltyWindow recent)
    {
        _engine = engine;
        Model = model;
        Policy = policy;
        Cache = cache;
        Recent = recent;
    }

    public DecoderModel Model { get; }

    public AttentionPolicy Policy { get; }

    /// <summary>Tokens appended so far, generated ones included.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <summary>Where the turns of the chat begin, ascending, as of the last step; those that have long left the window are forgotten.</summary>
    public IReadOnlyList<long> TurnStarts => Volatile.Read(ref _turnStarts);

    /// <summary>Whether the last token was sampled and not computed yet, as of the last step: then a generation may begin without new tokens.</summary>
    public bool HasPending => Volatile.Read(ref _pending) >= 0;

    /// <summary>How full the window is, as of the last step.</summary>
    public WindowState Window { get; internal set; }

    /// <summary>False once the blocks are given back: only a new sequence helps then.</summary>
    public bool IsHeld => !Volatile.Read(ref _dropped);

    /// <summary>
    /// Takes effect between two steps, with the next token computed; generations submitted before may get it on their way, those submitted after have it from
    /// their first token. What is cached stays as it was computed. The version is prepared here, so the engine does not wait for that.
    /// </summary>
    /// <param name="adapter">null goes back to the base.</param>
    /// <exception cref="LongCtxException">It was made for another model, or holds a number that is not finite.</exception>
    public void SetAdapter(LoraWeights? adapter) => SetAdapters(adapter, []);

    /// <summary>The same, and changes at later tokens; whatever was to come before is forgotten.</summary>
    public void SetAdapters(LoraWeights? adapter, IReadOnlyList<AdapterSwitch> later)
    {
        Prepare(adapter);
        foreach (AdapterSwitch next in later) Prepare(next.Weights);
        _engine.Post(() =>
        {
            if (IsDropped) return;
            Cache.Adapter = adapter;
            Adapters.Set(later);
        });
    }

    /// <summary>
    /// Names the token from which another version will be used, and lets the sequence come up to it and no further until <see cref="ReleaseAdapter"/> or
    /// <see cref="CancelAdapter"/>: so that the change can be stored first. -1 when the sequence is no longer held.
    /// </summary>
    /// <param name="ahead">How many more tokens a reply that is under way may compute before it has to wait.</param>
    public Task<long> HoldAdapterAsync(int ahead) => _engine.HoldAdapterAsync(this, ahead);

    /// <summary>The hold at a token ends: from it on, keys are computed under this version.</summary>
    public void ReleaseAdapter(long at, LoraWeights? adapter)
    {
        Prepare(adapter);
        _engine.Post(() =>
        {
            Adapters.Release(at, changes: true, adapter);
            if (IsDropped) return;
            Adapters.Advance(Cache); // a sequence that rests there is saved with it
            UpdateState();
        });
    }

    /// <summary>The hold at a token ends, and nothing changes.</summary>
    public void CancelAdapter(long at) => _engine.Post(() => Adapters.Release(at, changes: false, null));

    /// <summary>
    /// From now on the cache is pinned wherever a chunk begins, until <see cref="InferenceEngine.TrainAsync"/> has used it, a later chunk takes its place or there
    /// is no room for it.
    /// </summary>
    /// <param name="first">Token of the sequence at which a chunk begins.</param>
    /// <param name="chunk">Its length; 0 pins nothing any more.</param>
    public void PinChunks(long first, int chunk) => _engine.Post(() =>
    {
        if (!IsDropped) Pins.Set(first, chunk);
    });

    /// <summary>On the caller's thread: the engine does not wait for it.</summary>
    void Prepare(LoraWeights? adapter)
    {
        InferenceEngine.RequireFitting(Model, adapter);
        _ = (adapter?.Packed, adapter?.Digest);
    }

    /// <summary>Digest of the version that the next token is computed under, as of the last step; empty for the base.</summary>
    public string AdapterDigest => Volatile.Read(ref _adapter);

    /// <summary>Digest of the version that the oldest key of the window was computed under, as of the last step; empty for the base.</summary>
    public string OldestAdapter => Volatile.Read(ref _oldestAdapter);

    /// <summary>Unpins: the sequence stays cached while there is room.</summary>
    public void Release() => _engine.Post(() => _engine.Unpin(this));

    /// <summary>Unpins and gives the blocks back at once.</summary>
    public void Drop() => _engine.Post(() => _engine.Free(this));

    // Below: engine thread only.

    string _adapter = "", _oldestAdapter = "";
    long _count;
    long[] _turnStarts = [];
    int _turnsVersion;
    int _pending = -1;
    bool _dropped;

    internal KvSequence Cache { get; }

    /// <summary>Caches of chunks that are to be learned.</summary>
    internal ChunkPins Pins { get; } = new();

    /// <summary>Changes of the version to come.</summary>
    internal AdapterSchedule Adapters { get; } = new();

    internal PenaltyWindow Recent { get; }

    /// <summary>The last token, sampled but not yet computed; -1 when there is none.</summary>
    internal int Pending
    {
        get => _pending;
        set => Volatile.Write(ref _pending, value);
    }

    internal bool IsPinned { get; set; } = true;

    internal bool IsDropped
    {
        get => _dropped;
        set => Volatile.Write(ref _dropped, value);
    }

    /// <summary>The generation that is using the sequence.</summary>
    internal Generation? User { get; set; }

    internal long LastUsed { get; set; }

    internal void UpdateState()
    {
        long total = Cache.Count + (Pending >= 0 ? 1 : 0);
        long newest = Math.Max(0, Cache.Count - 1);
        long visible = Cache.Count == 0 ? 0 : Policy.VisibleCount(newest, Cache.Turns);
        Window = new((int)visible, Policy.Capacity, Cache.Count - visible, total) { Sinks = (int)Math.Min(Policy.Sinks, total) };
        Volatile.Write(ref _count, total);
        Volatile.Write(ref _adapter, Cache.Adapter?.Digest ?? "");
        Volatile.Write(ref _oldestAdapter, Cache.OldestAdapter);
        if (_turnsVersion == Cache.Turns.Version) return;
        _turnsVersion = Cache.Turns.Version;
        Volatile.Write(ref _turnStarts, Cache.Turns.ToArray());
    }
}
