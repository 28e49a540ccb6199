using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Conversations.Local;

/// <summary>
/// A conversation's sequence in the engine: taken for a reply, given back afterwards, and rebuilt when the pool, a restart or a crash has
/// taken it away. Used by one activity at a time.
/// </summary>
/// <param name="adapter">As the journal has it now.</param>
internal sealed class ConversationCache(
    LocalDecoder decoder, InferenceEngine engine, KvFiles files, IConversationStore store, ConversationKey key, Retention retention, AdapterVersions versions,
    Func<AdapterState?> adapter, long replayTokensMax)
{
    readonly SemaphoreSlim _taking = new(1, 1);
    Sequence? _sequence;
    long _skipped; // tokens of the log that a refilled sequence left out behind its sinks
    long _refilledAt; // as the journal had it when the sequence was built
    long _savedTokens;
    string _savedUnder = "";
    long _count;

    /// <summary>Tokens of the log that the sequence stands for; 0 when there is none.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <summary>Nobody takes the sequence until this is disposed.</summary>
    public async ValueTask<IDisposable> PauseAsync(CancellationToken cancellation)
    {
        await _taking.WaitAsync(cancellation).ConfigureAwait(false);
        return new Pause(_taking);
    }

    sealed class Pause(SemaphoreSlim taking) : IDisposable
    {
        public void Dispose() => taking.Release();
    }

    /// <summary>
    /// A pinned sequence that holds the beginning of the log, what is left to feed, and how it was rebuilt if it was. Every token of the rest is computed under
    /// the adapter version that the journal names for it.
    /// </summary>
    /// <param name="state">Where the log ends.</param>
    /// <param name="tail">Its end, as the owner has it.</param>
    /// <param name="cancellation">Stops reading.</param>
    /// <exception cref="AdapterLostException">The state of a version that is needed is gone.</exception>
    public async ValueTask<(Sequence Sequence, LogPart Feed, RestoreGrade? Restored)> TakeAsync(ConversationState state, LogPart tail, CancellationToken cancellation)
    {
        using IDisposable pause = await PauseAsync(cancellation).ConfigureAwait(false);
        state = state with { Adapter = adapter() };
        AdapterWeights weights = await AdapterWeights.LoadAsync(decoder.Adapter, state.Adapter, versions, cancellation).ConfigureAwait(false);
        (Sequence sequence, LogPart feed, RestoreGrade? restored) = await TakeAsync(state, tail, weights, cancellation).ConfigureAwait(false);
        (LoraWeights? now, AdapterSwitch[] later) = weights.From(feed.Start - (sequence.HasPending ? 1 : 0), _skipped);
        sequence.SetAdapters(now, later);
        if (state.Adapter is { IsEnabled: true, Settings: { Mode: AdapterSettings.Cached } settings } learning) sequence.PinChunks(learning.TrainedTo - 1 - _skipped, settings.Chunk);
        return (sequence, feed, restored);
    }

    async ValueTask<(Sequence Sequence, LogPart Feed, RestoreGrade? Restored)> TakeAsync(ConversationState state, LogPart tail, AdapterWeights weights, CancellationToken cancellation)
    {
        AttentionPolicy policy = PolicyOptions.ParseRule(state.Policy!);
        if (await ReuseAsync(state, tail, weights).ConfigureAwait(false) is { } held) return (held, tail.From(_skipped + held.Count), null);
        _refilledAt = weights.RefilledAt;

        if (await files.TryLoadAsync(decoder.Model, key, state, store, weights, cancellation).ConfigureAwait(false) is { } saved)
        {
            (_sequence, _skipped) = (saved.Sequence, saved.Skipped);
            (_savedTokens, _savedUnder) = (saved.Skipped + saved.Sequence.Count, CurrentOf(state));
            LogPart rest = _savedTokens >= tail.Start ? tail.From(_savedTokens)
                : await LogPart.ReadAsync(store, key, saved.Seq, _savedTokens, state.Tokens, cancellation).ConfigureAwait(false);
            return (saved.Sequence, rest, _skipped == 0 ? RestoreGrade.Exact : RestoreGrade.Refill);
        }

        // Under an adapter the log is computed again from where it was refilled last, if the versions since then are still there.
        bool isWhole = retention.FirstSeq == 1 && weights.ReplayFloor <= weights.RefilledAt;
        if (weights.RefilledAt > 0 && !policy.IsUnlimited)
            return await RefillAsync(state, policy, isWhole && state.Tokens - weights.RefilledAt <= replayTokensMax ? weights.RefilledAt : state.Tokens, cancellation).ConfigureAwait(false);
        if (!policy.IsUnlimited && (state.Tokens > replayTokensMax || !isWhole)) return await RefillAsync(state, policy, state.Tokens, cancellation).ConfigureAwait(false);
        LogPart whole = tail.Start == 0 ? tail : await LogPart.ReadAsync(store, key, 0, 0, state.Tokens, cancellation).ConfigureAwait(false);
        _sequence = decoder.CreateSequence(engine, policy);
        _skipped = 0;
        bool isNew = state.Turns == 1 && (state.Live is null || state.Live.ReplyStart == state.Tokens);
        return (_sequence, whole, isNew ? null : isWhole ? RestoreGrade.Replay : RestoreGrade.Refill);
    }

    /// <summary>
    /// Holds the sequence at the token from which another version is to be used; null when there is no sequence, and whoever builds it will find that in the journal.
    /// </summary>
    /// <returns>The sequence, where it is held in its own count, and the index of that token in the log.</returns>
    public async ValueTask<(Sequence Sequence, long At, long Token)?> HoldAdapterAsync(int ahead)
    {
        if (_sequence is not { IsHeld: true } sequence) return null;
        long at = await sequence.HoldAdapterAsync(ahead).ConfigureAwait(false);
        return at < 0 ? null : (sequence, at, _skipped + at);
    }

    /// <summary>The sequence and where a token of the log stands in it; null where there is none, or it left the token out.</summary>
    public (Sequence Sequence, long At)? Find(long token) => _sequence is { IsHeld: true } sequence && token > _skipped ? (sequence, token - _skipped) : null;

    /// <summary>Number of the version that the oldest key in the window was computed under; 0 for the base, or one that is too old to be known.</summary>
    public int OldestVersion(AdapterState state) => _sequence is { } sequence ? state.Versions.FirstOrDefault(v => v.Digest == sequence.OldestAdapter)?.Number ?? 0 : state.Current.Number;

    async ValueTask<Sequence?> ReuseAsync(ConversationState state, LogPart tail, AdapterWeights weights)
    {
        if (_sequence is not { } held) return null;
        long end = Math.Min(_skipped + held.Count, state.Tokens); // a reply that was never stored left more
        if (held.IsHeld && held.Count > 0 && end >= tail.Start && _refilledAt == weights.RefilledAt)
        {
            int newest = (int)Math.Min(end - tail.Start, SamplingOptions.PenaltyWindowMax);
            int[] recent = tail.Ids[(int)(end - tail.Start - newest)..(int)(end - tail.Start)];
            if (await engine.ReuseAsync(held, end - _skipped, recent).ConfigureAwait(false) is { } sequence)
            {
                if (!ReferenceEquals(sequence, held)) held.Drop();
                return _sequence = sequence;
            }
        }

        Drop();
        return null;
    }

    /// <summary>
    /// Sinks and window alone, as a sequence that leaves out what lies between: a multiple of B, so that distances and evictions stay the same.
    /// Contents are close, because the keys did not see what is left out, and draws of the sampler differ.
    /// </summary>
    /// <param name="state">Where the log ends.</param>
    /// <param name="policy">Of the conversation.</param>
    /// <param name="at">The window is that of this token; what comes behind it follows as it did.</param>
    /// <param name="cancellation">Stops reading.</param>
    async ValueTask<(Sequence, LogPart, RestoreGrade?)> RefillAsync(ConversationState state, AttentionPolicy policy, long at, CancellationToken cancellation)
    {
        long skipped = policy.Evicted(at);
        int[] sinks = await SinksAsync(state, policy.Sinks, cancellation).ConfigureAwait(false);
        long first = policy.Sinks + skipped, before = await LogPart.FirstEventAsync(store, key, first, state.Seq, cancellation).ConfigureAwait(false);
        LogPart window = await LogPart.ReadAsync(store, key, before, first, state.Tokens, cancellation).ConfigureAwait(false);
        (_sequence, _skipped) = (decoder.CreateSequence(engine, policy), skipped);
        return (_sequence, new(skipped, [.. sinks, .. window.Ids], window.TurnStarts), RestoreGrade.Refill);
    }

    /// <summary>They are in the first segment as soon as there is one; the events that brought them may be trimmed.</summary>
    async ValueTask<int[]> SinksAsync(ConversationState state, int count, CancellationToken cancellation)
    {
        if (state.Segments > 0 && await store.ReadSegmentsAsync(key, 0, 1, cancellation).ConfigureAwait(false) is [{ First: 0 } first] && first.Tokens.Length >= count)
            return first.Tokens[..count].ToArray();
        return (await LogPart.ReadAsync(store, key, 0, 0, count, cancellation).ConfigureAwait(false)).Ids[..count];
    }

    /// <summary>The activity is over: the sequence stays cached while the pool has room.</summary>
    public void GiveBack()
    {
        if (_sequence is not { } sequence) return;
        if (sequence.IsHeld) sequence.Release();
        else Drop();
        Volatile.Write(ref _count, _sequence is { } kept ? _skipped + kept.Count : 0);
    }

    public void Drop()
    {
        _sequence?.Drop();
        (_sequence, _skipped, _savedTokens) = (null, 0, 0);
        Volatile.Write(ref _count, 0);
    }

    static string CurrentOf(ConversationState state) => state.Adapter?.Current.Digest ?? "";

    /// <summary>Writes the sequence to disk, if it holds exactly the log and was not written yet, or under an older version of the adapter.</summary>
    /// <param name="state">Where the log ends; nothing is under way.</param>
    /// <param name="tokensMin">Fewer new tokens than this are not worth it.</param>
    public async Task SaveAsync(ConversationState state, int tokensMin)
    {
        if (_sequence is not { IsHeld: true } sequence || _skipped + sequence.Count != state.Tokens || (state.Tokens - _savedTokens < tokensMin && CurrentOf(state) == _savedUnder)) return;
        if (await files.SaveAsync(key, sequence, _skipped, state).ConfigureAwait(false)) (_savedTokens, _savedUnder) = (state.Tokens, CurrentOf(state));
    }
}
