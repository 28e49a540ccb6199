using System.Globalization;
using System.Threading.Channels;
using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Conversations.Local;

/// <summary>
/// Owns one conversation in this process: a loop that hands everything that happens to the machine, one thing at a time, and carries out
/// what the machine asks for.
/// </summary>
public sealed class ConversationOwner
{
    /// <summary>Generated tokens that may wait for the store before the engine's reader pauses.</summary>
    const int UnstoredTokensMax = 256;

    readonly ConversationRuntime _services;
    readonly LocalDecoder _decoder;
    readonly ConversationMachine _machine;
    readonly ConversationCache _cache;
    readonly AdapterVersions _versions;
    readonly ConversationLearner _learner;
    readonly Retention _retention;
    readonly Channel<Func<ValueTask>> _inbox = Channel.CreateUnbounded<Func<ValueTask>>(new() { SingleReader = true });
    readonly Queue<Command> _deferred = new();
    readonly CancellationTokenSource _leaving = new();
    Task _activity = Task.CompletedTask;
    volatile Generation? _generation;
    volatile bool _stopsReply;
    TaskCompletionSource? _room;
    Leave? _left;
    long _saveAt;
    bool _isClosed;

    /// <summary>A request with who waits for its answer.</summary>
    sealed record Command(bool Waits, Func<Command, ValueTask> Run, TaskCompletionSource<object> Answer);

    ConversationOwner(ConversationRuntime services, ConversationKey key, LocalDecoder decoder, StoredConversation stored, ConversationState state, TokenTail tail)
    {
        (_services, Key, _decoder) = (services, key, decoder);
        _retention = new(services.Store, key, stored.Epoch, services.Options.RetainEvents, stored.FirstSeq);
        _machine = new(key, stored.Epoch, state, tail);
        _versions = new(decoder.Model, services.Store, key, stored.Epoch, services.Warn);
        _cache = new(decoder, services.Engine, services.Files, services.Store, key, _retention, _versions, () => _machine.State.Adapter, services.Options.ReplayTokensMax);
        _learner = new(services, key, decoder.Model, _cache, _versions, use => Post(() => use(_machine)), LearnOn, _leaving.Token);
        _learner.Consider(state);
        Completion = Task.Run(RunAsync);
    }

    public ConversationKey Key { get; }

    /// <summary>How the ownership ended: null when it idled out or was parked.</summary>
    public Task<Leave?> Completion { get; }

    /// <summary>The state as acknowledged, as of a moment ago.</summary>
    public ConversationState State => _machine.State;

    /// <summary>Acquires the conversation and goes on with a turn that was live.</summary>
    internal static async Task<ConversationOwner> ActivateAsync(ConversationRuntime services, ConversationKey key, CancellationToken cancellation)
    {
        StoredConversation stored = await services.Store.AcquireAsync(key, services.Name, cancellation).ConfigureAwait(false) ?? throw Refusals.NotFound(key.Id);
        if (stored.Deleted is not null) throw Refusals.Deleted(key.Id);
        ConversationState state = ConversationState.Parse(stored.State);
        LocalDecoder decoder = services.DecoderOf(stored.Seed.Model);
        TokenTail tail = await LogPart.ReadTailAsync(services.Store, key, state.TailSeq - 1, state.Unsegmented, state.Tokens, cancellation).ConfigureAwait(false);
        long known = services.Hub.HeadOf(key);
        services.Hub.Open(key, state.Seq);
        var owner = new ConversationOwner(services, key, decoder, stored, state, tail);
        if (known > state.Seq) owner.Post(() => owner._machine.ReportRewound(services.Now()));
        return owner;
    }

    /// <summary>As <see cref="IConversationHost.SubmitTurnAsync"/>.</summary>
    /// <exception cref="OwnerMovedException">It ended before; so for all requests.</exception>
    public Task<TurnTicket> SubmitAsync(SubmitTurn command)
    {
        string hash = Commands.Validate(command);
        command = command with { Options = command.Options with { MaxTokens = command.Options.MaxTokens ?? _services.ReplyTokensMax } }; // stored, so that a resumed reply has the same end
        return AskAsync<TurnTicket>(command.Wait, async request =>
        {
            TurnInfo? known = await _services.Store.FindTurnAsync(Key, command.TurnId).ConfigureAwait(false);
            _machine.Submit(request, command, hash, known, state => ConversationInput.Prepare(_decoder, state, command.Messages, opensReply: true), _services.Now());
        });
    }

    /// <summary>As <see cref="IConversationHost.AppendInputAsync"/>.</summary>
    /// <param name="command">The messages.</param>
    /// <param name="requestId">Makes an append without a producer safe to repeat, for callers that may not get the answer.</param>
    public Task<InputAck> AppendInputAsync(AppendInput command, string? requestId = null)
    {
        string hash = Commands.Validate(command);
        string turnId = command.Producer is { } producer ? string.Create(CultureInfo.InvariantCulture, $"{producer}#{command.Number}") : requestId ?? Guid.CreateVersion7().ToString();
        return AskAsync<InputAck>(command.Wait, async request =>
        {
            if (command.Producer is null && requestId is not null && await _services.Store.FindTurnAsync(Key, turnId).ConfigureAwait(false) is { } known)
            {
                request.Answer.TrySetResult(new InputAck(known.StartSeq, known.Turn, false));
                return;
            }

            _machine.AppendInput(request, command, turnId, hash, state => ConversationInput.Prepare(_decoder, state, command.Messages, opensReply: false), _services.Now());
        });
    }

    public Task<TurnInfo> CancelAsync(int turn) => AskAsync<TurnInfo>(false, async request =>
    {
        TurnInfo? known = _machine.State.Live?.Turn == turn ? null : (await _services.Store.ReadTurnsAsync(Key, turn - 1, 1).ConfigureAwait(false)).FirstOrDefault();
        _machine.Cancel(request, turn, known, _services.Now());
    }, isOrderly: false);

    /// <summary>As <see cref="IConversationHost.ConfigureAdapterAsync"/>. The same settings again change nothing.</summary>
    public Task<AdapterInfo> ConfigureAdapterAsync(AdapterSettings settings)
    {
        settings.Validate();
        if (_decoder.Adapter is not null) throw Refusals.Invalid($"model {_decoder.Name} carries an adapter of its own: conversations that are to learn need the model by itself, {_decoder.Model.Name}", "adapter");
        _learner.Require(settings);
        return AskAsync<AdapterInfo>(true, request =>
        {
            if (_machine.State.Adapter is { IsEnabled: true } adapter && adapter.Settings.IsSameAs(settings)) request.Answer.TrySetResult(adapter.ToInfo());
            else _machine.ConfigureAdapter(request, settings, _decoder.DefaultPolicy.Capacity, _services.Now());
            return ValueTask.CompletedTask;
        });
    }

    /// <summary>As <see cref="IConversationHost.ResetAdapterAsync"/>.</summary>
    public Task<AdapterInfo> ResetAdapterAsync(bool disable) => AskAsync<AdapterInfo>(true, request =>
    {
        _machine.ResetAdapter(request, disable, _services.Now());
        return ValueTask.CompletedTask;
    });

    /// <summary>Stops at a stored token, saves the cache and ends. A live turn stays live in the journal.</summary>
    public Task ParkAsync()
    {
        Post(() => _machine.Park(_services.Now()));
        return Completion;
    }

    /// <summary>The conversation was deleted in the store: nothing more is to be written.</summary>
    public Task AbandonAsync()
    {
        Post(() => _machine.StoreFailed(Refusals.Deleted(Key.Id)));
        return Completion;
    }

    /// <param name="waits">Wait for a live turn to end.</param>
    /// <param name="run">Hands the request to the machine.</param>
    /// <param name="isOrderly">Comes after what was asked before; a cancellation does not.</param>
    async Task<T> AskAsync<T>(bool waits, Func<Command, ValueTask> run, bool isOrderly = true)
    {
        var command = new Command(waits, run, new(TaskCreationOptions.RunContinuationsAsynchronously));
        if (!_inbox.Writer.TryWrite(() => isOrderly && !_isClosed ? TakeAsync(command) : RunAsync(command))) throw new OwnerMovedException();
        return (T)await command.Answer.Task.ConfigureAwait(false);
    }

    void Post(Action action) => _inbox.Writer.TryWrite(() =>
    {
        action();
        return ValueTask.CompletedTask;
    });

    /// <summary>Requests are taken in order; while one is being stored, and while a turn is live for one that waits, they stand in line.</summary>
    async ValueTask TakeAsync(Command command)
    {
        if (MustWait(command))
        {
            if (command.Waits && _deferred.Count(c => c.Waits) > 0 && _machine.State.Live is not null)
                command.Answer.SetException(new LongCtxException(ErrorCode.TurnInProgress, "a turn is being answered and another one waits already: try again later"));
            else _deferred.Enqueue(command);
            return;
        }

        await RunAsync(command).ConfigureAwait(false);
    }

    async ValueTask RunAsync(Command command)
    {
        try
        {
            if (_isClosed) throw new OwnerMovedException();
            await command.Run(command).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            command.Answer.TrySetException(e is StoreException store ? Refusals.Unavailable(store) : e);
        }
    }

    /// <summary>A turn whose end is being stored is as good as over: who saw that end must not be told that it is being answered.</summary>
    bool MustWait(Command command) =>
        !_machine.HasLeft && (_machine.State.Live is not null && !_machine.IsEndingTurn ? command.Waits : _machine.IsBusy && !_machine.IsParking);

    async Task<Leave?> RunAsync()
    {
        try
        {
            await PumpAsync().ConfigureAwait(false);
        }
        catch (Exception e) // a mistake of ours must not leave a conversation hanging: its next owner goes on from the journal
        {
            _services.Warn($"conversation {Key.Id} lost its owner: {e}");
            _left = new(null, e);
        }

        _inbox.Writer.TryComplete();
        await _leaving.CancelAsync().ConfigureAwait(false);
        _generation?.Cancel();
        await _learner.StopAsync().ConfigureAwait(false);
        await _activity.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _isClosed = true;
        foreach (Command command in _deferred) command.Answer.TrySetException(new OwnerMovedException());
        while (_inbox.Reader.TryRead(out Func<ValueTask>? late)) await late().ConfigureAwait(false);
        if (_left is null) await _cache.SaveAsync(_machine.State, 1).ConfigureAwait(false);
        _cache.GiveBack();
        if (_left is not null) _cache.Drop();
        _services.Hub.Close(Key);
        return _left;
    }

    async Task PumpAsync()
    {
        await CarryOutAsync().ConfigureAwait(false);
        while (_left is null)
        {
            if (_machine.IsParking && _machine.IsIdle) return;
            if (!await WaitAsync().ConfigureAwait(false)) return;
            while (_inbox.Reader.TryRead(out Func<ValueTask>? next))
            {
                await next().ConfigureAwait(false);
                await CarryOutAsync().ConfigureAwait(false);
            }

            _machine.Tick(_services.Now());
            await CarryOutAsync().ConfigureAwait(false);
        }
    }

    /// <summary>False when the conversation has been idle long enough.</summary>
    async Task<bool> WaitAsync()
    {
        bool isIdle = _machine.IsIdle && _activity.IsCompleted && _deferred.Count == 0 && !_learner.IsLearning;
        TimeSpan wait = _machine.Deadline is { } deadline ? TimeSpan.FromMilliseconds(Math.Max(0, deadline - _services.Now()))
            : isIdle ? _services.Options.IdleTime : Timeout.InfiniteTimeSpan;
        Task<bool> ready = _inbox.Reader.WaitToReadAsync().AsTask();
        if (wait == Timeout.InfiniteTimeSpan) await ready.ConfigureAwait(false);
        else
        {
            using var timer = new CancellationTokenSource();
            Task first = await Task.WhenAny(ready, Task.Delay(wait, _services.Time, timer.Token)).ConfigureAwait(false);
            await timer.CancelAsync().ConfigureAwait(false);
            if (first != ready) return !isIdle || _inbox.Reader.Count > 0;
        }

        return true;
    }

    async ValueTask CarryOutAsync()
    {
        while (true)
        {
            while (_machine.TryTake(out Effect effect)) CarryOut(effect);
            if (_room is { } room && _machine.QueuedTokens < UnstoredTokensMax)
            {
                _room = null;
                room.TrySetResult();
            }

            if (_deferred.TryPeek(out Command? next) && !MustWait(next))
            {
                _deferred.Dequeue();
                await RunAsync(next).ConfigureAwait(false);
                continue;
            }

            return;
        }
    }

    void CarryOut(Effect effect)
    {
        switch (effect)
        {
            case Append append:
                _ = StoreAsync(append.Batch);
                break;
            case Publish publish:
                _machine.Tail.ForgetBefore(Math.Min(_machine.State.Unsegmented, _cache.Count));
                _services.Hub.Publish(Key, publish.Events);
                ConversationMetrics.Count(publish.Events);
                if (publish.Events[^1] is Completed or Cancelled or Failed && _machine.IsIdle) SaveSoon();
                if (_retention.IsDue(_machine.State)) TrimSoon();
                foreach (ConversationEvent e in publish.Events)
                    if (e is AdapterRejected or AdapterUpdated { Update: not null }) _learner.Settle();
                _learner.Consider(_machine.State);
                break;
            case UseAdapter use:
                ClearSoon(use.Update);
                break;
            case Answer { Request: Command command } answer:
                if (answer.Failure is { } failure) command.Answer.TrySetException(failure);
                else command.Answer.TrySetResult(answer.Result!);
                break;
            case StartReply start:
                _stopsReply = false;
                ConversationState state = _machine.State;
                LogPart tail = LogPart.Of(_machine.Tail);
                _activity = Chain(_activity, () => ReplyAsync(start.Turn, state, tail));
                break;
            case Prefill:
                ConversationState fed = _machine.State;
                LogPart part = LogPart.Of(_machine.Tail);
                _activity = Chain(_activity, () => PrefillAsync(fed, part));
                break;
            case StopReply:
                _stopsReply = true;
                _generation?.Cancel();
                break;
            case Leave leave:
                _left = leave;
                break;
        }
    }

    /// <summary>Behind what the engine does now; by then another turn may have begun, and its end will save.</summary>
    void SaveSoon()
    {
        if (_services.Now() < _saveAt) return;
        _saveAt = _services.Now() + (long)_services.Options.SaveInterval.TotalMilliseconds;
        ConversationState state = _machine.State;
        _activity = Chain(_activity, () => _cache.SaveAsync(state, ConversationRuntime.SaveTokensMin));
    }

    /// <summary>A chunk is done: nothing else may be stored for long, so the next one begins here, and what rests is saved under its newest version.</summary>
    void LearnOn()
    {
        _learner.Consider(_machine.State);
        if (_machine.IsIdle && !_learner.IsLearning) SaveSoon();
    }

    /// <summary>Gives up what is of no use under the journal's newest adapter: a cache, its saved state, stored versions.</summary>
    void ClearSoon(AdapterUpdated update) => _activity = Chain(_activity, async () =>
    {
        try
        {
            if (update.Version == 0) await _learner.StopAsync().ConfigureAwait(false);
            if (update.IsRefill)
            {
                using (await _cache.PauseAsync(_leaving.Token).ConfigureAwait(false)) _cache.Drop();
                _services.Files.Delete(Key);
            }

            await _versions.EraseUnusedAsync(_machine.State.Adapter!, _leaving.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is StoreException or OperationCanceledException)
        {
            // The next version tries again.
        }
    });

    void TrimSoon()
    {
        ConversationState state = _machine.State;
        _activity = Chain(_activity, async () =>
        {
            try
            {
                await _retention.TrimAsync(state, _leaving.Token).ConfigureAwait(false);
            }
            catch (Exception e) when (e is StoreException or OperationCanceledException)
            {
                // The next turn's end tries again.
            }
        });
    }

    static async Task Chain(Task before, Func<Task> next)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await Task.Run(next).ConfigureAwait(false);
    }

    /// <summary>Sends a batch, again and again while the store says that it may get better.</summary>
    async Task StoreAsync(AppendBatch batch)
    {
        for (int attempt = 0; ; attempt++)
        {
            try
            {
                AppendResult result = await _services.Store.AppendAsync(Key, batch).ConfigureAwait(false);
                Post(() => _machine.Stored(result, _services.Now()));
                return;
            }
            catch (StoreException e) when (e.IsTransient && attempt < ConversationRuntime.AppendAttemptsMax && !_leaving.IsCancellationRequested)
            {
                await Task.Delay(ConversationRuntime.RetryDelay(attempt), _services.Time).ConfigureAwait(false);
            }
            catch (Exception e)
            {
                if (e is not StoreException) _services.Warn($"the store failed in a way that it should not: {e}");
                Post(() => _machine.StoreFailed(e));
                return;
            }
        }
    }

    async Task ReplyAsync(LiveTurn turn, ConversationState state, LogPart tail)
    {
        try
        {
            (Sequence sequence, LogPart feed, RestoreGrade? restored) = await _cache.TakeAsync(state, tail, _leaving.Token).ConfigureAwait(false);
            var request = new GenerationRequest
            {
                Sequence = sequence,
                Tokens = feed.Ids,
                TurnStarts = feed.TurnOffsets(),
                Resumed = await ResumedAsync(turn, state, tail).ConfigureAwait(false),
                Sampling = turn.Options.Sampling,
                MaxTokens = turn.Options.MaxTokens ?? int.MaxValue,
                StopTokens = _decoder.Model.StopTokens,
                StopTexts = turn.Options.Stop,
            };
            await FollowAsync(await AdmitAsync(request).ConfigureAwait(false), request.Resumed.Count, restored, feed.Start, turn).ConfigureAwait(false);
        }
        catch (LongCtxException e)
        {
            Post(() => _machine.EngineFailed(e, e.Code is ErrorCode.EngineFailure or ErrorCode.QueueFull or ErrorCode.StoreUnavailable, _services.Now()));
        }
        catch (AdapterLostException e)
        {
            Post(() =>
            {
                _machine.AdapterLost(_services.Now());
                _machine.EngineFailed(new(ErrorCode.EngineFailure, e.Message, inner: e), true, _services.Now());
            });
        }
        catch (StoreException e)
        {
            Post(() => _machine.EngineFailed(new(ErrorCode.StoreUnavailable, e.Message, inner: e), e.IsTransient, _services.Now()));
        }
        catch (OperationCanceledException)
        {
            // Leaving.
        }
        catch (Exception e)
        {
            _services.Warn($"the reply of turn {turn.Turn} of {Key.Id} failed: {e}");
            Post(() => _machine.EngineFailed(new(ErrorCode.EngineFailure, $"the reply failed: {e.Message}", inner: e), true, _services.Now()));
        }
        finally
        {
            _generation = null;
            _cache.GiveBack();
        }
    }

    /// <summary>The reply's tokens from before a crash; they are the end of the log.</summary>
    async ValueTask<int[]> ResumedAsync(LiveTurn turn, ConversationState state, LogPart tail)
    {
        if (turn.ReplyStart == state.Tokens) return [];
        if (turn.ReplyStart >= tail.Start) return tail.From(turn.ReplyStart).Ids;
        return (await LogPart.ReadAsync(_services.Store, Key, turn.AcceptedSeq, turn.ReplyStart, state.Tokens, _leaving.Token).ConfigureAwait(false)).Ids;
    }

    /// <summary>An accepted turn is not refused for want of a place: it waits until there is one.</summary>
    async Task<Generation> AdmitAsync(GenerationRequest request)
    {
        while (true)
        {
            try
            {
                return _services.Engine.Submit(request);
            }
            catch (LongCtxException e) when (e.Code == ErrorCode.QueueFull)
            {
                await Task.Delay(e.RetryAfter ?? TimeSpan.FromSeconds(1), _services.Time, _leaving.Token).ConfigureAwait(false);
            }
        }
    }

    async Task FollowAsync(Generation generation, int resumed, RestoreGrade? restored, long cached, LiveTurn turn)
    {
        _generation = generation;
        if (_stopsReply) generation.Cancel();
        var ids = new List<int>();
        string text = "";
        int reported = 0, told = 0; // tokens and characters that the machine has
        while (await generation.Tokens.WaitToReadAsync().ConfigureAwait(false))
        {
            int tokens = reported, chars = told;
            while (generation.Tokens.TryRead(out GeneratedToken token))
            {
                ids.Add(token.Id);
                text += token.Text;
                (tokens, chars) = (token.SettledTokens, token.SettledChars);
            }

            // Only what no stop text can cut off: a crash must be able to go on behind it.
            int[] news = [.. ids[reported..tokens]];
            string delta = text[..(chars - told)];
            (text, reported, told) = (text[(chars - told)..], tokens, chars);
            if (!await ReportAsync(news, delta).ConfigureAwait(false)) break;
        }

        GenerationResult result = await generation.Completion.ConfigureAwait(false);
        var usage = new TurnUsage(turn.ReplyStart, Math.Min(cached, turn.ReplyStart), result.CompletionTokens, result.EvictedTokens)
        {
            PrefillSeconds = result.PrefillSeconds, DecodeSeconds = result.DecodeSeconds, Window = result.Window, Restored = restored,
        };
        int[] rest = [.. result.Ids.Skip(resumed + reported)];
        string last = result.Text[Math.Min(result.Text.Length, result.ResumedChars + told)..];
        Post(() => _machine.Ended(new(result.Reason, rest, last, result.TextBeyond, usage), _services.Now()));
    }

    /// <summary>Hands tokens to the machine and waits while the store is behind. False when the owner has ended.</summary>
    async Task<bool> ReportAsync(int[] ids, string text)
    {
        var room = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using CancellationTokenRegistration leaving = _leaving.Token.Register(() => room.TrySetResult());
        bool isOpen = _inbox.Writer.TryWrite(() =>
        {
            _machine.Generated(ids, text, _services.Now());
            if (_machine.QueuedTokens < UnstoredTokensMax) room.TrySetResult();
            else _room = room;
            return ValueTask.CompletedTask;
        });
        if (isOpen) await room.Task.ConfigureAwait(false);
        return isOpen;
    }

    /// <summary>Computes appended input ahead of the turn that will need it. What it does not get to, the turn does.</summary>
    async Task PrefillAsync(ConversationState state, LogPart tail)
    {
        if (_machine.State.Seq != state.Seq && _machine.State.Live is not null) return; // a turn is there already
        try
        {
            (Sequence sequence, LogPart feed, _) = await _cache.TakeAsync(state, tail, _leaving.Token).ConfigureAwait(false);
            if (feed.Ids.Length == 0) return;
            Generation generation = await AdmitAsync(new() { Sequence = sequence, Tokens = feed.Ids, TurnStarts = feed.TurnOffsets(), FeedOnly = true }).ConfigureAwait(false);
            _generation = generation;
            if (_leaving.IsCancellationRequested) generation.Cancel();
            await generation.Completion.ConfigureAwait(false);
        }
        catch (Exception e) when (e is LongCtxException or StoreException or OperationCanceledException or AdapterLostException)
        {
            // The turn that needs it will say so.
        }
        finally
        {
            _generation = null;
            _cache.GiveBack();
        }
    }
}
