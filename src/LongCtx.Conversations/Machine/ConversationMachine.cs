using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Cache;

namespace LongCtx.Conversations.Machine;

/// <summary>
/// One conversation under one owner: commands, engine events, store replies and ticks go in, effects come out. No clock, no thread, no I/O:
/// the local host, the grain and the tests drive the same machine, one call at a time.
/// <code>
/// (none) --submit--> accepted --stored--> replying --tokens: store, then show--> ... --end | cancel | failure--> ended
/// </code>
/// </summary>
/// <remarks>
/// Everything that is written waits in one queue; a single append is under way at any time, and takes all that queued meanwhile. The
/// state changes, requests are answered and events are shown only when the append is acknowledged.
/// </remarks>
public sealed class ConversationMachine
{
    /// <summary>Tokens of a reply that are stored together.</summary>
    public const int GroupTokens = 8;

    /// <summary>Milliseconds that a token waits for others.</summary>
    public const int GroupMilliseconds = 40;

    /// <summary>A segment is written this many tokens before its first token leaves the window: further than the engine runs ahead of the journal.</summary>
    public const int SegmentAhead = 512;

    /// <summary>Fewer tokens wait for more, as long as there is time.</summary>
    const int SegmentTokensMin = 256;

    const int SegmentTokensMax = 4096;

    readonly ConversationKey _key;
    readonly long _epoch;
    readonly TokenTail _tail;
    readonly Queue<Effect> _effects = new();
    readonly List<Pending> _queue = [];
    InFlight? _inFlight;
    ConversationState _state;
    readonly List<object> _cancels = [];
    TurnInfo? _ended;       // the turn that the batch under way ends
    long _oldest;           // when the oldest queued token came
    bool _isUrgent;         // the queue holds something that does not wait for more
    bool _isFirstToken;
    bool _isEnding;         // the end of the turn is queued or under way
    bool _isCancelling;
    bool _isParked;

    /// <summary>An event that waits to be stored; numbered when its batch is made.</summary>
    sealed record Pending(ConversationEvent Event, int[] Ids, object? Request);

    sealed record InFlight(AppendBatch Batch, ConversationState After, IReadOnlyList<ConversationEvent> Events, IReadOnlyList<object?> Requests);

    /// <param name="key">Whose machine it is.</param>
    /// <param name="epoch">From the acquisition.</param>
    /// <param name="state">As acquired.</param>
    /// <param name="tail">The tokens of the log from <see cref="ConversationState.Unsegmented"/> on, or from further back. The driver forgets what it does not need; the machine needs those.</param>
    public ConversationMachine(ConversationKey key, long epoch, ConversationState state, TokenTail tail)
    {
        (_key, _epoch, _state, _tail) = (key, epoch, state, tail);
        if (state.Live is { } live) ContinueReply(live);
    }

    /// <summary>As acknowledged by the store.</summary>
    public ConversationState State => _state;

    /// <summary>Tokens of the log that are in no segment, those not stored yet included.</summary>
    public TokenTail Tail => _tail;

    public bool HasLeft { get; private set; }

    /// <summary>After <see cref="Park"/>.</summary>
    public bool IsParking { get; private set; }

    /// <summary>Nothing queued, nothing under way, no turn.</summary>
    public bool IsIdle => _queue.Count == 0 && _inFlight is null && (_state.Live is null || _isParked);

    /// <summary>Whether a new turn or append would be refused now.</summary>
    public bool IsBusy => HasLeft || IsParking || _state.Live is not null || _queue.Count > 0 || _inFlight is not null;

    /// <summary>The end of the live turn is on its way to the store. A reader of the store may see it there before this machine hears of it.</summary>
    public bool IsEndingTurn => _isEnding;

    /// <summary>When <see cref="Tick"/> has something to do, in Unix milliseconds; null for never.</summary>
    public long? Deadline => _inFlight is null && _queue.Count > 0 ? _oldest + GroupMilliseconds : null;

    /// <summary>Tokens that wait to be stored: a driver that has too many stops reading the engine.</summary>
    public int QueuedTokens => _queue.Sum(p => p.Ids.Length);

    public bool TryTake(out Effect effect)
    {
        bool taken = _effects.TryDequeue(out Effect? next);
        effect = next!;
        return taken;
    }

    /// <param name="request">Comes back in the <see cref="Answer"/>.</param>
    /// <param name="command">The turn.</param>
    /// <param name="hash">Of the command.</param>
    /// <param name="known">What the store knows under this turn id.</param>
    /// <param name="prepare">Tokens of the messages behind the current state; may refuse.</param>
    /// <param name="now">Unix milliseconds.</param>
    public void Submit(object request, SubmitTurn command, string hash, TurnInfo? known, Func<ConversationState, PreparedInput> prepare, long now)
    {
        if (known is not null)
        {
            if (known.PayloadHash == hash) Reply(request, new TurnTicket(_key.Id, known.TurnId, known.Turn, known.StartSeq, false));
            else Refuse(request, ErrorCode.Conflict, $"turn id {command.TurnId} was used for another request: use a new id for a new turn");
            return;
        }

        if (RefuseIfBusy(request)) return;
        if (command.ExpectedSeq is { } expected && expected != _state.Seq)
        {
            Refuse(request, ErrorCode.Conflict, $"the conversation stands at event {_state.Seq}, not at {expected}: read on from {expected} and try again");
            return;
        }

        if (Prepare(request, prepare) is not { } input) return;
        Enqueue(new TurnAccepted(command.TurnId, hash, command.Messages, command.Options)
        {
            Turn = _state.Turns + 1, At = now, Policy = _state.Policy is null ? input.Policy : null, TurnStarts = input.TurnStarts,
        }, input.Ids, request);
        Flush(now);
    }

    /// <summary>As <see cref="Submit"/>, without a reply.</summary>
    public void AppendInput(object request, AppendInput command, string turnId, string hash, Func<ConversationState, PreparedInput> prepare, long now)
    {
        if (command.Producer is { } producer && _state.Producers.GetValueOrDefault(producer) is { } last && command.Number <= last.Number)
        {
            if (command.Number < last.Number || last.PayloadHash == hash) Reply(request, new InputAck(last.Seq, last.Turn, false));
            else Refuse(request, ErrorCode.Conflict, $"producer {producer} sent another text as number {command.Number} before: count on from {last.Number + 1}");
            return;
        }

        if (RefuseIfBusy(request)) return;
        if (command.Producer is { } name && command.Number > 1 && (_state.Producers.GetValueOrDefault(name)?.Number ?? command.Number - 1) + 1 != command.Number)
        {
            Refuse(request, ErrorCode.Conflict, $"producer {name} left out a piece: number {_state.Producers[name].Number + 1} comes next, not {command.Number}");
            return;
        }

        if (Prepare(request, prepare) is not { } input) return;
        Enqueue(new InputAppended(turnId, hash, command.Messages)
        {
            Turn = _state.Turns + 1, At = now, Producer = command.Producer, Number = command.Number,
            Policy = _state.Policy is null ? input.Policy : null, TurnStarts = input.TurnStarts,
        }, input.Ids, request);
        Flush(now);
    }

    /// <summary>Answers with the turn as it ended, when it has ended.</summary>
    /// <param name="known">What the store knows about the turn; null when it does not exist.</param>
    public void Cancel(object request, int turn, TurnInfo? known, long now)
    {
        if (_state.Live?.Turn == turn)
        {
            _cancels.Add(request);
            if (_isCancelling) return;
            _isCancelling = true;
            if (!_isEnding) _effects.Enqueue(new StopReply());
        }
        else if (known is null || known.Turn != turn) Refuse(request, ErrorCode.NotFound, $"conversation {_key.Id} has no turn {turn}");
        else Reply(request, known);
        Flush(now);
    }

    /// <summary>Tokens that the engine generated; those that a stop text may still cut off are not among them.</summary>
    public void Generated(ReadOnlySpan<int> ids, string text, long now)
    {
        if (HasLeft || _state.Live is not { } live || _isEnding) return;
        if (ids.Length == 0 && text.Length == 0) return;
        if (_queue is [.., { Event: Delta last } pending] && pending.Event.Turn == live.Turn)
            _queue[^1] = pending with { Event = last with { Text = last.Text + text }, Ids = [.. pending.Ids, .. ids] };
        else
        {
            if (_queue.Count == 0) _oldest = now;
            _queue.Add(new(new Delta(text) { Turn = live.Turn, At = now }, ids.ToArray(), null));
        }

        _isUrgent |= _isFirstToken || _queue[^1].Ids.Length >= GroupTokens;
        _isFirstToken = false;
        Flush(now);
    }

    /// <summary>The reply is over, by itself, cancelled, or because of <see cref="Park"/>.</summary>
    public void Ended(ReplyEnd end, long now)
    {
        if (HasLeft || _state.Live is not { } live || _isEnding) return;
        if (IsParking && end.Reason == FinishReason.Cancelled && !_isCancelling)
        {
            _isParked = true; // what is queued is still stored; the turn goes on under the next owner
            _isUrgent = true;
            Flush(now);
            return;
        }

        _isEnding = true;
        ConversationEvent last = end.Reason == FinishReason.Cancelled
            ? new Cancelled(end.Usage, end.Text) { Turn = live.Turn, At = now }
            : new Completed(end.Reason, end.Usage, end.Text, end.Beyond) { Turn = live.Turn, At = now };
        Enqueue(last, end.Ids, null);
        Flush(now);
    }

    /// <summary>The engine could not answer.</summary>
    public void EngineFailed(LongCtxException failure, bool isRetryable, long now)
    {
        if (HasLeft || _state.Live is not { } live || _isEnding) return;
        if (IsParking)
        {
            _isParked = true;
            Flush(now);
            return;
        }

        _isEnding = true;
        Enqueue(new Failed(NameOf(failure.Code), failure.Message, isRetryable) { Turn = live.Turn, At = now }, [], null);
        Flush(now);
    }

    /// <summary>No new turns; a live one stops at a stored token and stays live in the journal, for the next owner.</summary>
    public void Park(long now)
    {
        if (IsParking || HasLeft) return;
        IsParking = true;
        if (_state.Live is not null && !_isEnding) _effects.Enqueue(new StopReply());
        _isUrgent = true;
        Flush(now);
    }

    /// <summary>The journal is shorter than it was known to be: tells every reader.</summary>
    public void ReportRewound(long now)
    {
        Enqueue(new Rewound(_state.Seq) { At = now }, [], null);
        Flush(now);
    }

    /// <summary>The conversation learns from its own text from here on. Answers with the <see cref="AdapterInfo"/> after it.</summary>
    /// <param name="request">Comes back in the <see cref="Answer"/>.</param>
    /// <param name="settings">Valid ones.</param>
    /// <param name="capacity">Of the window: without other settings, the text that it holds is the first to be learned.</param>
    /// <param name="now">Unix milliseconds.</param>
    public void ConfigureAdapter(object request, AdapterSettings settings, int capacity, long now)
    {
        if (RefuseIfBusy(request)) return;
        if (_state.Adapter is { Versions.IsEmpty: false } adapter && !adapter.Settings.HasShapeOf(settings))
        {
            Refuse(request, ErrorCode.Conflict, $"version {adapter.Current.Number} of the adapter has rank {adapter.Settings.Rank} on {string.Join(", ", adapter.Settings.Targets)}: reset it before you change rank, alpha or targets");
            return;
        }

        Enqueue(new AdapterConfigured(settings, Math.Max(0, _state.Tokens - (settings.StartAfter ?? capacity))) { At = now }, [], request);
        Flush(now);
    }

    /// <summary>Back to the base model: everything that was computed under the adapter is given up. Answers with the <see cref="AdapterInfo"/> after it.</summary>
    public void ResetAdapter(object request, bool disable, long now)
    {
        if (RefuseIfBusy(request)) return;
        if (_state.Adapter is not { } adapter) Refuse(request, ErrorCode.NotFound, $"conversation {_key.Id} has no adapter");
        else
        {
            Enqueue(new AdapterUpdated(0, "", _state.Tokens) { IsRefill = !adapter.Versions.IsEmpty, IsDisabled = disable, At = now }, [], request);
            Flush(now);
        }
    }

    /// <summary>A chunk was learned and its state is stored: from <paramref name="firstToken"/> on, keys are to be computed under it.</summary>
    /// <param name="update">Of the next version.</param>
    /// <param name="digest">Of its weights.</param>
    /// <param name="firstToken">Nothing at or behind it has been computed yet.</param>
    /// <param name="isRefill">The cache before it is to be computed anew.</param>
    /// <param name="now">Unix milliseconds.</param>
    /// <returns>False when there is no use for it: the adapter was reset meanwhile.</returns>
    public bool AdapterLearned(AdapterUpdate update, string digest, long firstToken, bool isRefill, long now) =>
        TryEnqueue(update, new AdapterUpdated(update.Version, digest, firstToken) { Update = update, IsRefill = isRefill, At = now }, now);

    /// <summary>A chunk was learned in vain. The result is as of <see cref="AdapterLearned"/>.</summary>
    public bool AdapterFailed(AdapterUpdate update, long now) => TryEnqueue(update, new AdapterRejected(update) { At = now }, now);

    bool TryEnqueue(AdapterUpdate update, ConversationEvent e, long now)
    {
        if (HasLeft || _state.Adapter is not { IsEnabled: true } adapter || adapter.TrainedTo != update.From || _queue.Exists(p => p.Event is AdapterUpdated or AdapterRejected)) return false;
        Enqueue(e, [], null);
        Flush(now);
        return true;
    }

    /// <summary>The state of the version in use is gone: back to the base model, as after a reset.</summary>
    public void AdapterLost(long now)
    {
        if (HasLeft || _state.Adapter is not { Versions.IsEmpty: false }) return;
        Enqueue(new AdapterUpdated(0, "", _state.Tokens) { IsRefill = true, At = now }, [], null);
        Flush(now);
    }

    public void Tick(long now) => Flush(now);

    /// <summary>The store has answered the append.</summary>
    public void Stored(AppendResult result, long now)
    {
        if (HasLeft) return; // it was under way then
        if (_inFlight is not { } done) throw new InvalidOperationException("no append is under way");
        if (result.Status != AppendStatus.Appended)
        {
            LeaveNow(new(result.Status, null));
            return;
        }

        LiveTurn? before = _state.Live;
        _inFlight = null;
        _state = done.After;
        _effects.Enqueue(new Publish(done.Events));
        for (int i = 0; i < done.Events.Count; i++) Settle(done.Events[i], done.Requests[i]);
        if (_state.Live is { } live && before is null)
        {
            ContinueReply(live);
            if (IsParking) _isParked = true;
        }
        else if (_state.Live is null && done.Events.Any(e => e is InputAppended)) _effects.Enqueue(new Prefill());

        Flush(now);
    }

    /// <summary>The store could not, and trying again is over.</summary>
    public void StoreFailed(Exception failure) => LeaveNow(new(null, failure));

    /// <summary>The store has refused something else that only the owner may write: an append would be refused too, and readers must not go on asking here.</summary>
    public void Replaced(AppendStatus status)
    {
        if (!HasLeft) LeaveNow(new(status, null));
    }

    void Settle(ConversationEvent e, object? request)
    {
        switch (e)
        {
            case TurnAccepted a:
                Reply(request!, new TurnTicket(_key.Id, a.TurnId, a.Turn, a.Seq, true));
                break;
            case InputAppended i:
                Reply(request!, new InputAck(i.Seq, i.Turn, true));
                break;
            case AdapterConfigured:
                Reply(request!, _state.Adapter!.ToInfo());
                break;
            case AdapterUpdated u:
                _effects.Enqueue(new UseAdapter(u));
                if (request is not null) Reply(request, _state.Adapter!.ToInfo());
                break;
            case Completed or Failed or Cancelled:
                foreach (object cancel in _cancels) Reply(cancel, _ended!);
                _cancels.Clear();
                _isCancelling = _isEnding = false;
                break;
        }
    }

    void ContinueReply(LiveTurn live)
    {
        _isFirstToken = true;
        _isEnding = false;
        if (!IsParking) _effects.Enqueue(new StartReply(live));
    }

    bool RefuseIfBusy(object request)
    {
        if (HasLeft || IsParking) Refuse(request, ErrorCode.ShuttingDown, "the conversation is moving to another owner: try again");
        else if (_state.Live is { } live) Refuse(request, ErrorCode.TurnInProgress, $"turn {live.Turn} ({live.TurnId}) is being answered: wait for it, or cancel it");
        else if (IsBusy) Refuse(request, ErrorCode.TurnInProgress, "another request to this conversation is being stored: try again");
        else return false;
        return true;
    }

    PreparedInput? Prepare(object request, Func<ConversationState, PreparedInput> prepare)
    {
        try
        {
            return prepare(_state);
        }
        catch (LongCtxException refusal)
        {
            _effects.Enqueue(new Answer(request, null, refusal));
            return null;
        }
    }

    void Enqueue(ConversationEvent e, int[] ids, object? request)
    {
        _queue.Add(new(e, ids, request));
        _isUrgent = true;
    }

    void Flush(long now)
    {
        if (_inFlight is not null || _queue.Count == 0 || HasLeft) return;
        if (!_isUrgent && now < _oldest + GroupMilliseconds) return;
        _inFlight = MakeBatch();
        _queue.Clear();
        _isUrgent = false;
        _effects.Enqueue(new Append(_inFlight.Batch));
    }

    InFlight MakeBatch()
    {
        ConversationState state = _state;
        var events = new List<ConversationEvent>();
        var stored = new List<StoredEvent>();
        var requests = new List<object?>();
        var turns = new List<TurnInfo>();
        var segments = new List<StoredSegment>();
        foreach (Pending pending in _queue)
        {
            LiveTurn? live = state.Live;
            Add(pending.Event, pending.Ids, pending.Request);
            if (pending.Event is TurnAccepted) turns.Add(state.LiveInfo!);
            if (pending.Event is InputAppended i) turns.Add(new(i.Turn, i.TurnId, i.PayloadHash, TurnStatus.Input, state.Seq, state.Seq));
            if (pending.Event is Completed or Cancelled or Failed)
            {
                turns.RemoveAll(t => t.Turn == live!.Turn);
                _ended = EndOf(live!, events[^1]);
                turns.Add(_ended);
            }

            while (NextSegments(state) is [.., var evicted] next)
            {
                segments.AddRange(next);
                long end = evicted.First + evicted.Tokens.Length;
                Add(new Evicted(evicted.Number, evicted.First, evicted.Tokens.Length, evicted.Hash) { TailSeq = _tail.EventOf(end, state.Seq + 1), At = pending.Event.At }, [], null);
            }
        }

        // The batch's id names its place: a repeated append is the same batch, and no other batch of this epoch has this place.
        var id = new Guid(SHA256.HashData(Encoding.UTF8.GetBytes(FormattableString.Invariant($"{_key.Tenant}/{_key.Id}/{_epoch}/{_state.Seq}"))).AsSpan(0, 16));
        var batch = new AppendBatch(_epoch, _state.Seq, id, stored, state.ToJson()) { Turns = turns, Segments = segments, IsLive = state.Live is not null };
        return new(batch, state, events, requests);

        void Add(ConversationEvent e, int[] ids, object? request)
        {
            e = e with { Seq = state.Seq + 1, Epoch = _epoch, TokenStart = state.Tokens, TokenCount = ids.Length };
            _tail.Add(e.Seq, e.TokenStart, ids, e is TurnAccepted a ? a.TurnStarts : e is InputAppended i ? i.TurnStarts : []);
            state = state.After(e);
            events.Add(e);
            stored.Add(JournalRecords.ToStored(e, ids));
            requests.Add(request);
        }
    }

    /// <summary>Tokens that leave the window soon, or with this input, and are in no segment yet.</summary>
    StoredSegment[] NextSegments(ConversationState state)
    {
        if (state.Policy is null || state.Tokens <= state.SegmentEnd) return [];
        AttentionPolicy policy = PolicyOptions.ParseRule(state.Policy);
        var turns = new TurnStarts();
        foreach (long start in _tail.TurnStarts) turns.Add(start);
        long leaving = Math.Min(policy.FirstVisible(state.Tokens + SegmentAhead, turns), state.Tokens);
        long count = leaving - state.SegmentEnd;
        bool canWait = policy.FirstVisible(state.Tokens + SegmentAhead / 2, turns) <= state.SegmentEnd;
        if (count <= 0 || (count < SegmentTokensMin && canWait)) return [];
        return SegmentChain.Next(state, _tail, (int)Math.Min(count, SegmentTokensMax));
    }

    static string NameOf(ErrorCode code) => JsonNamingPolicy.SnakeCaseLower.ConvertName(code.ToString());

    /// <summary>A turn as its last event leaves it.</summary>
    internal static TurnInfo EndOf(LiveTurn live, ConversationEvent last) => new(live.Turn, live.TurnId, live.PayloadHash, last switch
    {
        Completed => TurnStatus.Completed,
        Cancelled => TurnStatus.Cancelled,
        _ => TurnStatus.Failed,
    }, live.AcceptedSeq, last.Seq);

    void LeaveNow(Leave leave)
    {
        HasLeft = true;
        if (_state.Live is not null && !_isEnding) _effects.Enqueue(new StopReply());
        LongCtxException failure = leave.Status switch
        {
            AppendStatus.Gone => new(ErrorCode.Deleted, $"conversation {_key.Id} was deleted"),
            not null => new(ErrorCode.ShuttingDown, "the conversation has another owner now: try again"), // nothing of this was stored
            null => new(ErrorCode.StoreUnavailable, $"the store does not take writes: {leave.Failure?.Message}", inner: leave.Failure),
        };
        foreach (object? request in (_inFlight?.Requests ?? []).Concat(_queue.Select(p => p.Request)).Concat(_cancels))
            if (request is not null) _effects.Enqueue(new Answer(request, null, failure));
        _queue.Clear();
        _cancels.Clear();
        _inFlight = null;
        _effects.Enqueue(leave);
    }

    void Reply(object request, object result) => _effects.Enqueue(new Answer(request, result, null));

    void Refuse(object request, ErrorCode code, string message) => _effects.Enqueue(new Answer(request, null, new LongCtxException(code, message)));
}
