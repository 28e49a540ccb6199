using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Machine;

/// <summary>
/// Rebuilds batches from the events of another journal, under a new key and epoch: the state is folded anew and turns and segments are
/// derived again, so a copy needs the events alone. Events are checked, because an import may come from anywhere.
/// </summary>
public sealed class JournalCopy(ConversationKey key, long epoch, int vocabulary)
{
    readonly List<StoredEvent> _events = [];
    readonly Dictionary<int, TurnInfo> _turns = [];
    readonly List<StoredSegment> _segments = [];
    TokenTail _tail = new(0);
    ConversationState _state = ConversationState.Empty;
    long _written;

    /// <summary>Events that wait to be taken.</summary>
    public int Count => _events.Count;

    /// <exception cref="LongCtxException">The event does not follow from those before it.</exception>
    public void Add(StoredEvent stored)
    {
        ConversationEvent e;
        try
        {
            e = JournalRecords.ToEvent(stored);
        }
        catch (StoreException unreadable)
        {
            throw Refuse(stored.Seq, unreadable.Message);
        }

        if (e.Seq != _state.Seq + 1) throw Refuse(stored.Seq, $"its number is {e.Seq}");
        if (e.TokenStart != _state.Tokens || e.TokenCount != stored.Tokens.Length) throw Refuse(stored.Seq, $"it adds {stored.Tokens.Length} tokens at {e.TokenStart} to a log of {_state.Tokens}");
        foreach (int id in stored.Tokens.Span)
            if ((uint)id >= (uint)vocabulary) throw Refuse(stored.Seq, $"token id {id} is outside the vocabulary of {vocabulary}");
        if (e is TurnAccepted or InputAppended && (_state.Live is not null || e.Turn != _state.Turns + 1)) throw Refuse(stored.Seq, $"turn {e.Turn} cannot begin here");
        if (e is Completed or Cancelled or Failed or Delta && _state.Live?.Turn != e.Turn) throw Refuse(stored.Seq, $"turn {e.Turn} is not live");
        if (e is Evicted v && (v.First != _state.SegmentEnd || v.First + v.Count > _state.Tokens || v.Count < 1))
            throw Refuse(stored.Seq, $"segment {v.Segment} does not follow");
        if (e is AdapterConfigured configured) Check(configured, stored.Seq);
        if (e is AdapterUpdated u && (_state.Adapter is null || u.Version < 0 || u.FirstToken < 0)) throw Refuse(stored.Seq, $"there is no adapter of which version {u.Version} could be");
        Append(e, stored.Tokens);
    }

    void Check(AdapterConfigured e, long seq)
    {
        try
        {
            e.Settings.Validate();
        }
        catch (LongCtxException refusal)
        {
            throw Refuse(seq, refusal.Message);
        }
    }

    /// <summary>A turn that is in progress where the copy ends does not go on in it.</summary>
    public void CancelLiveTurn(long now)
    {
        if (_state.Live is not { } live) return;
        var usage = new TurnUsage(live.ReplyStart, 0, _state.Tokens - live.ReplyStart, 0);
        Append(new Cancelled(usage) { Seq = _state.Seq + 1, Turn = live.Turn, At = now, TokenStart = _state.Tokens }, default);
    }

    /// <summary>The adapter where the copy stands; null where there was none.</summary>
    public AdapterState? Adapter => _state.Adapter;

    /// <summary>The copy goes on with the base model, and learns from what comes.</summary>
    public void ResetAdapter(long now) => Append(new AdapterUpdated(0, "", _state.Tokens) { Seq = _state.Seq + 1, IsRefill = true, At = now, TokenStart = _state.Tokens }, default);

    void Append(ConversationEvent e, ReadOnlyMemory<int> tokens)
    {
        e = e with { Epoch = epoch };
        _tail.Add(e.Seq, e.TokenStart, tokens.Span, []);
        LiveTurn? live = _state.Live;
        if (e is Evicted v)
        {
            StoredSegment[] next = SegmentChain.Next(_state, _tail, v.Count);
            if (next[^1].Number != v.Segment) throw Refuse(e.Seq, $"segment {v.Segment} does not follow");
            if (next[^1].Hash != v.Hash) throw Refuse(e.Seq, $"the hash of segment {v.Segment} does not fit its tokens");
            _segments.AddRange(next);
        }

        _state = _state.After(e);
        _tail.ForgetBefore(_state.Unsegmented);
        if (e is TurnAccepted) _turns[e.Turn] = _state.LiveInfo!;
        if (e is InputAppended i) _turns[e.Turn] = new(i.Turn, i.TurnId, i.PayloadHash, TurnStatus.Input, i.Seq, i.Seq);
        if (e is Completed or Cancelled or Failed) _turns[e.Turn] = ConversationMachine.EndOf(live!, e);
        _events.Add(JournalRecords.ToStored(e, tokens));
    }

    /// <summary>What was added since the last call.</summary>
    public AppendBatch Take()
    {
        var batch = new AppendBatch(epoch, _written, Guid.NewGuid(), [.. _events], _state.ToJson())
        {
            Turns = [.. _turns.Values], Segments = [.. _segments], IsLive = _state.Live is not null,
        };
        _written = _state.Seq;
        _events.Clear();
        _turns.Clear();
        _segments.Clear();
        return batch;
    }

    LongCtxException Refuse(long seq, string problem) => new(ErrorCode.InvalidRequest, $"event {seq} of the copy for {key.Id} does not fit: {problem}", "body");
}
