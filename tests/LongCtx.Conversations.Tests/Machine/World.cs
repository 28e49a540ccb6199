using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Storage.Tests;
using LongCtx.Engine.Cache;

namespace LongCtx.Conversations.Tests;

/// <summary>One thing that happens to a conversation. What it means in a situation where it makes no sense: nothing.</summary>
public enum Happening
{
    Submit, SubmitAgain, SubmitOther, Append, AppendAgain, Cancel, Token, Tokens, End, EngineFails, Store, StoreLosesReply, StoreFails, Tick, Crash, SecondOwner, UseOlder, Park, Fork, Delete,
}

/// <summary>
/// Machines, a naive store, an engine that is a counter, and readers, driven by a script. Everything that the machine promises is checked
/// after every step.
/// </summary>
internal sealed class World
{
    public const string Policy = "4,1,1,64,16";

    static readonly AttentionPolicy s_policy = PolicyOptions.ParseRule(Policy);

    readonly NaiveStore _store = new();
    readonly List<Owner> _owners = [];
    readonly Dictionary<object, (string Turn, string Hash)> _asked = [];
    readonly Dictionary<string, TurnTicket> _tickets = new(StringComparer.Ordinal);
    readonly Dictionary<long, ConversationEvent> _published = [];
    ConversationKey _key = new("t", ConversationIds.New("m"));
    bool _isDeleted;
    long _now = 1000;
    int _turns, _pieces, _token;

    sealed class Owner(ConversationMachine machine)
    {
        public readonly ConversationMachine Machine = machine;
        public AppendBatch? UnderWay;
        public bool Replies;
        public bool IsStopping;
    }

    public World()
    {
        Assert.True(_store.CreateAsync(_key, new("m", 1, new Dictionary<string, string>())).Result);
        Activate();
    }

    Owner Current => _owners[^1];

    public void Do(Happening what, int n)
    {
        if (_isDeleted && what is not (Happening.Store or Happening.Tick or Happening.Token or Happening.End)) return;
        ConversationMachine m = Current.Machine;
        switch (what)
        {
            case Happening.Submit:
                Submit(Current, $"turn{_turns++}", "a");
                break;
            case Happening.SubmitAgain when _turns > 0:
                Submit(Current, $"turn{n % _turns}", "a");
                break;
            case Happening.SubmitOther when _turns > 0:
                Submit(Current, $"turn{n % _turns}", "b");
                break;
            case Happening.Append:
                Append(Current, ++_pieces, n % 700);
                break;
            case Happening.AppendAgain when _pieces > 0:
                Append(Current, _pieces, 1);
                break;
            case Happening.Cancel:
                object cancel = new();
                int turn = m.State.Live?.Turn ?? n % 3;
                m.Cancel(cancel, turn, _store.ReadTurnsAsync(_key, turn - 1, 1).Result.FirstOrDefault(), _now);
                break;
            case Happening.Token when Current.Replies:
                Generate(1);
                break;
            case Happening.Tokens when Current.Replies:
                Generate(1 + n % 40);
                break;
            case Happening.End when Current.Replies:
                Current.Replies = false;
                m.Ended(new(Current.IsStopping ? FinishReason.Cancelled : FinishReason.Stop, n % 2 == 0 ? [] : [++_token], "x", "", new(1, 0, 1, 0)), ++_now);
                break;
            case Happening.EngineFails when Current.Replies:
                Current.Replies = false;
                m.EngineFailed(new(ErrorCode.EngineFailure, "it broke"), true, ++_now);
                break;
            case Happening.Store:
                Deliver(Current, loses: false);
                break;
            case Happening.StoreLosesReply:
                Deliver(Current, loses: true);
                break;
            case Happening.StoreFails when Current.UnderWay is not null:
                Current.UnderWay = null;
                m.StoreFailed(new StoreException("the disk is full", false));
                break;
            case Happening.Tick:
                _now += n % 100;
                m.Tick(_now);
                break;
            case Happening.Crash:
                _owners.Clear();
                Activate();
                break;
            case Happening.SecondOwner:
                Activate();
                break;
            case Happening.UseOlder when _owners.Count > 1:
                Owner older = _owners[n % (_owners.Count - 1)];
                Submit(older, $"turn{_turns++}", "a");
                Drain(older);
                for (int i = 0; i < 3 && older.UnderWay is not null; i++) Deliver(older, loses: false);
                break;
            case Happening.Park:
                m.Park(_now);
                break;
            case Happening.Fork:
                Fork(n);
                break;
            case Happening.Delete when n % 5 == 0:
                Assert.True(_store.DeleteAsync(_key).Result);
                _isDeleted = true;
                break;
        }

        foreach (Owner owner in _owners.ToArray()) Drain(owner);
        if (Current.Machine.HasLeft && !_isDeleted) Activate();
        if (!_isDeleted) CheckJournal(_key);
    }

    /// <summary>Lets everything come to its end; then every turn that was accepted has exactly one end.</summary>
    public void Finish()
    {
        if (_isDeleted) return;
        _owners.Clear();
        Activate();
        for (int i = 0; i < 100 && !(Current.Machine.IsIdle && !Current.Replies); i++)
        {
            Do(Happening.Store, 0);
            Do(Happening.End, 0);
        }

        Assert.True(Current.Machine.IsIdle);
        foreach (TurnInfo turn in _store.ReadTurnsAsync(_key, 0, int.MaxValue).Result) Assert.NotEqual(TurnStatus.InProgress, turn.Status);
        Assert.Empty(_store.ListLiveAsync().Result);
    }

    void Activate()
    {
        StoredConversation head = _store.AcquireAsync(_key, "owner").Result!;
        ConversationState state = ConversationState.Parse(head.State);
        var tail = new TokenTail(state.Unsegmented);
        foreach (StoredEvent stored in _store.ReadAsync(_key, state.TailSeq - 1, int.MaxValue).Result)
        {
            ConversationEvent e = JournalRecords.ToEvent(stored);
            tail.Add(e.Seq, e.TokenStart, stored.Tokens.Span, e is TurnAccepted a ? a.TurnStarts : e is InputAppended i ? i.TurnStarts : []);
        }

        Assert.Equal(state.Tokens, tail.End);
        var owner = new Owner(new(_key, head.Epoch, state, tail));
        _owners.Add(owner);
        Drain(owner);
    }

    void Submit(Owner owner, string turn, string payload)
    {
        object request = new();
        _asked[request] = (turn, payload);
        owner.Machine.Submit(request, new(turn, [new("user", payload)]), payload, _store.FindTurnAsync(_key, turn).Result, state => Input(state, 3), _now);
    }

    void Append(Owner owner, int number, int tokens)
    {
        var command = new AppendInput([new("user", "piece")]) { Producer = "p", Number = number };
        owner.Machine.AppendInput(new(), command, $"p#{number}", "h", state => Input(state, 1 + tokens), _now);
    }

    PreparedInput Input(ConversationState state, int tokens) => new([.. Enumerable.Range(0, tokens).Select(_ => ++_token)], [0], state.Policy is null ? Policy : null);

    void Generate(int count) => Current.Machine.Generated([.. Enumerable.Range(0, count).Select(_ => ++_token)], new string('x', count), ++_now);

    void Deliver(Owner owner, bool loses)
    {
        if (owner.UnderWay is not { } batch) return;
        AppendResult result = _store.AppendAsync(_key, batch).Result;
        if (loses) result = _store.AppendAsync(_key, batch).Result; // the driver sends it again
        owner.UnderWay = null;
        owner.Machine.Stored(result, ++_now);
        Drain(owner);
    }

    void Drain(Owner owner)
    {
        while (owner.Machine.TryTake(out Effect effect))
        {
            switch (effect)
            {
                case Append append:
                    Assert.Null(owner.UnderWay); // never two at a time
                    owner.UnderWay = append.Batch;
                    break;
                case Publish publish:
                    foreach (ConversationEvent e in publish.Events)
                    {
                        Assert.False(_published.ContainsKey(e.Seq), $"event {e.Seq} was shown twice");
                        _published[e.Seq] = e;
                    }

                    break;
                case StartReply:
                    owner.Replies = true;
                    owner.IsStopping = false;
                    break;
                case StopReply:
                    owner.IsStopping = true;
                    break;
                case Answer answer:
                    Check(answer);
                    break;
                case Leave:
                    owner.Replies = false;
                    break;
            }
        }
    }

    void Check(Answer answer)
    {
        if (!_asked.TryGetValue(answer.Request, out var asked)) return;
        if (answer.Result is TurnTicket ticket)
        {
            if (_tickets.TryGetValue(asked.Turn, out TurnTicket? before)) Assert.Equal(before with { IsNew = false }, ticket with { IsNew = false });
            _tickets[asked.Turn] = ticket;
            Assert.NotNull(_store.FindTurnAsync(_key, asked.Turn).Result); // acknowledged is stored
        }
        else if (answer.Failure is LongCtxException { Code: ErrorCode.Conflict })
        {
            Assert.NotEqual(asked.Hash, _store.FindTurnAsync(_key, asked.Turn).Result!.PayloadHash);
        }
    }

    void Fork(int n)
    {
        StoredConversation head = _store.FindAsync(_key).Result!;
        long end = head.Seq == 0 ? 0 : n % (head.Seq + 1);
        var fork = new ConversationKey("t", ConversationIds.New("m"));
        Assert.True(_store.CreateAsync(fork, head.Seed).Result);
        var copy = new JournalCopy(fork, _store.AcquireAsync(fork, "copy").Result!.Epoch, int.MaxValue);
        foreach (StoredEvent e in _store.ReadAsync(_key, 0, (int)end).Result)
        {
            copy.Add(e);
            if (copy.Count == 7) Assert.Equal(AppendStatus.Appended, _store.AppendAsync(fork, copy.Take()).Result.Status);
        }

        copy.CancelLiveTurn(_now);
        if (copy.Count > 0) Assert.Equal(AppendStatus.Appended, _store.AppendAsync(fork, copy.Take()).Result.Status);
        CheckJournal(fork);
        Assert.Null(ConversationState.Parse(_store.FindAsync(fork).Result!.State).Live);
    }

    /// <summary>The invariants of the journal: dense, folded to its state, one end for each turn, epochs rising, segments chained and in time.</summary>
    void CheckJournal(ConversationKey key)
    {
        StoredConversation head = _store.FindAsync(key).Result!;
        var events = _store.ReadAsync(key, 0, int.MaxValue).Result;
        var state = ConversationState.Empty;
        var ended = new HashSet<int>();
        long epoch = 0;
        var log = new List<int>();
        var turns = new TurnStarts();
        foreach (StoredEvent stored in events)
        {
            ConversationEvent e = JournalRecords.ToEvent(stored);
            Assert.Equal(state.Seq + 1, e.Seq);
            Assert.True(e.Epoch >= epoch, "an epoch fell");
            epoch = e.Epoch;
            Assert.Equal(log.Count, e.TokenStart);
            Assert.Equal(stored.Tokens.Length, e.TokenCount);
            if (e is TurnAccepted a) foreach (int offset in a.TurnStarts) turns.Add(log.Count + offset);
            if (e is InputAppended i) foreach (int offset in i.TurnStarts) turns.Add(log.Count + offset);
            log.AddRange(stored.Tokens.ToArray());
            if (e is TurnAccepted or InputAppended) Assert.Null(state.Live);
            if (e is Delta or Completed or Cancelled or Failed) Assert.Equal(e.Turn, state.Live?.Turn);
            if (e is Completed or Cancelled or Failed) Assert.True(ended.Add(e.Turn), $"turn {e.Turn} ended twice");
            state = state.After(e);
            if (key == _key && _published.TryGetValue(e.Seq, out ConversationEvent? shown)) Assert.Equal(stored.Body, JournalRecords.ToStored(shown, stored.Tokens).Body);
        }

        if (key == _key) Assert.All(_published.Keys, seq => Assert.True(seq <= head.Seq, $"event {seq} was shown and is not stored"));
        Assert.Equal(head.Seq, state.Seq);
        Assert.Equal(head.State, head.Seq == 0 ? "" : state.ToJson());
        CheckSegments(key, state, log, turns);
    }

    void CheckSegments(ConversationKey key, ConversationState state, List<int> log, TurnStarts turns)
    {
        long end = 0;
        string hash = "";
        foreach (StoredSegment segment in _store.ReadSegmentsAsync(key, 0, int.MaxValue).Result)
        {
            Assert.Equal(end, segment.First);
            Assert.Equal(log.GetRange((int)segment.First, segment.Tokens.Length), segment.Tokens.ToArray());
            hash = SegmentChain.HashOf(hash, segment.Tokens.Span);
            Assert.Equal(hash, segment.Hash);
            end += segment.Tokens.Length;
        }

        Assert.Equal(end, state.Unsegmented);
        if (end > 0) Assert.Equal(end, state.SegmentEnd);
        // What the newest query no longer sees is in a segment. (A fork may end between both; its first batch makes up for it, before anything is computed.)
        if (log.Count > 0 && key == _key) Assert.True(Math.Max(end, s_policy.Sinks) >= s_policy.FirstVisible(log.Count - 1, turns), $"tokens {end} to {s_policy.FirstVisible(log.Count - 1, turns)} left without a segment");
    }
}
