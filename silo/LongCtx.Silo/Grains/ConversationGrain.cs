using LongCtx.Conversations.Local;
using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Silo.Placement;
using LongCtx.Silo.Streams;
using Microsoft.Extensions.Logging;
using Orleans.Placement;
using Orleans.Streams;
using Orleans.Streams.Core;

namespace LongCtx.Silo.Grains;

/// <summary>
/// A thin adapter: it takes the conversation over when it is activated, hands requests to its owner and leaves when the owner does. Orleans' promise of one
/// activation makes this quick; the store's epoch makes it safe.
/// </summary>
[GrainType("conversation"), ImplicitStreamSubscription(StreamNames.Ingest), EnginePlacement, Immovable(ImmovableKind.Any), CollectionAgeLimit("00:10:00")]
internal sealed partial class ConversationGrain(SiloEngine engine, GrainRegistry registry, CapacityTable capacity, ILogger<ConversationGrain> log) : Grain, IConversationGrain, IGrainMigrationParticipant, IStreamSubscriptionObserver
{
    const string EpochLabel = "epoch", SeqLabel = "seq";

    readonly CancellationTokenSource _leaving = new();
    readonly Dictionary<string, Task> _waiting = new(StringComparer.Ordinal); // requests that stand in line behind a live turn
    ConversationKey _key = null!;
    ConversationOwner? _owner;
    LongCtxException? _refusal; // why it could not be activated
    IGrainTimer? _keepAlive;

    ConversationRuntime Runtime => engine.Conversations!;

    public override async Task OnActivateAsync(CancellationToken cancellation)
    {
        _key = GrainKeys.Conversation(this.GetPrimaryKeyString());
        try
        {
            _owner = await Runtime.ActivateAsync(_key, cancellation);
        }
        catch (LongCtxException e)
        {
            _refusal = e; // an answer, not a failure of the cluster
            return;
        }

        registry.Add(this, _key.Tenant);
        KeepAlive();
        _ = LeaveWithOwnerAsync(_owner);
        IAsyncStream<byte[]> tokens = this.GetStreamProvider(StreamNames.Provider).GetStream<byte[]>(StreamId.Create(StreamNames.Tokens, this.GetPrimaryKeyString()));
        using (ExecutionContext.SuppressFlow()) _ = PublishAsync(tokens, _owner.State.Seq);
    }

    public override async Task OnDeactivateAsync(DeactivationReason reason, CancellationToken cancellation)
    {
        if (_owner is null) return;
        registry.Remove(this);
        await _leaving.CancelAsync();
        await _owner.ParkAsync().WaitAsync(cancellation).ConfigureAwait(ConfigureAwaitOptions.ContinueOnCapturedContext | ConfigureAwaitOptions.SuppressThrowing);
    }

    public async ValueTask<Wire> SubmitTurnAsync(Wire command)
    {
        var turn = command.Read<SubmitTurn>();
        var answer = await WireJson.AnswerAsync(() => InLineAsync("turn " + turn.TurnId, owner => owner.SubmitAsync(turn)));
        KeepAlive();
        return answer;
    }

    public ValueTask<Wire> AppendInputAsync(Wire command, string requestId)
    {
        var input = command.Read<AppendInput>();
        return WireJson.AnswerAsync(() => InLineAsync("append " + requestId, owner => owner.AppendInputAsync(input, requestId)));
    }

    public ValueTask<Wire> ReadEventsAsync(long after, int max, TimeSpan wait, CancellationToken cancellation = default) => WireJson.AnswerAsync(async () =>
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(_leaving.Token, cancellation);
        TimeSpan bounded = wait < IConversationGrain.WaitMax ? wait : IConversationGrain.WaitMax;
        try
        {
            if (_owner is null) throw Refused();
            return await Runtime.ReadEventsAsync(_key, after, max, bounded, either.Token);
        }
        catch (OperationCanceledException) when (_leaving.IsCancellationRequested)
        {
            return new EventPage([], after); // the next call finds the next owner
        }
    });

    public ValueTask<Wire> CancelTurnAsync(int turn) => WireJson.AnswerAsync(() => AskAsync(owner => owner.CancelAsync(turn)));

    public async ValueTask<Wire> ConfigureAdapterAsync(Wire settings, string requestId)
    {
        var adapter = settings.Read<AdapterSettings>();
        var answer = await WireJson.AnswerAsync(() => InLineAsync("configure " + requestId, owner => owner.ConfigureAdapterAsync(adapter)));
        KeepAlive();
        return answer;
    }

    public ValueTask<Wire> ResetAdapterAsync(bool disable, string requestId) =>
        WireJson.AnswerAsync(() => InLineAsync("reset " + requestId, owner => owner.ResetAdapterAsync(disable)));

    public ValueTask WakeAsync() => ValueTask.CompletedTask;

    public async ValueTask AbandonAsync()
    {
        if (_owner is { } owner) await owner.AbandonAsync();
        Runtime.Forget(_key);
    }

    public async ValueTask DrainAsync()
    {
        await _leaving.CancelAsync();
        if (_owner is { } owner) await owner.ParkAsync();
        if (capacity.All.Any(c => c.CanHost(ConversationIds.TagOf(_key.Id)))) this.MigrateOnIdle();
        else this.DeactivateOnIdle(); // nowhere to go: the next silo that has the model will find it in the store
    }

    /// <summary>The next silo trusts the store alone; this tells its log where the conversation comes from.</summary>
    public void OnDehydrate(IDehydrationContext context)
    {
        if (_owner is not { State: var state }) return;
        context.TryAddValue(EpochLabel, state.Epoch);
        context.TryAddValue(SeqLabel, state.Seq);
    }

    public void OnRehydrate(IRehydrationContext context)
    {
        if (context.TryGetValue(EpochLabel, out long epoch) && context.TryGetValue(SeqLabel, out long seq)) LogMoved(this.GetPrimaryKeyString(), seq, epoch);
    }

    /// <summary>Text that came through the cluster's own stream: appended once, in the order of its numbers.</summary>
    public Task OnSubscribed(IStreamSubscriptionHandleFactory handles) => handles.Create<byte[]>().ResumeAsync(async (bytes, _) =>
    {
        IngestBatch batch = Payloads.Read<IngestBatch>(bytes);
        var input = new AppendInput([.. batch.Messages.Select(m => new ChatMessage(m.Role, m.Content))]) { Producer = batch.Producer, Number = batch.Number, Wait = true };
        await AskAsync(owner => owner.AppendInputAsync(input));
    });

    async Task PublishAsync(IAsyncStream<byte[]> tokens, long after)
    {
        while (!_leaving.IsCancellationRequested)
        {
            try
            {
                await TokenPublisher.RunAsync(Runtime, _key, tokens, after, _leaving.Token);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (Exception e) // streams are a hint: readers repair from the journal, and the next batch is tried again
            {
                LogNotPublished(this.GetPrimaryKeyString(), e.Message);
                after = _owner!.State.Seq;
                await Task.Delay(TimeSpan.FromSeconds(1), _leaving.Token).ConfigureAwait(ConfigureAwaitOptions.ContinueOnCapturedContext | ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>
    /// A request that has to wait longer than a call may last is left standing in the owner's line; sent again, it is found there. Null: it still waits.
    /// </summary>
    async Task<T?> InLineAsync<T>(string name, Func<ConversationOwner, Task<T>> run) where T : class
    {
        Task<T> asked = _waiting.Remove(name, out Task? standing) ? (Task<T>)standing : AskAsync(run);
        try
        {
            return await asked.WaitAsync(IConversationGrain.WaitMax);
        }
        catch (TimeoutException) when (!asked.IsCompleted)
        {
            _waiting[name] = asked;
            return null;
        }
    }

    async Task<T> AskAsync<T>(Func<ConversationOwner, Task<T>> run)
    {
        try
        {
            return await run(_owner ?? throw Refused());
        }
        catch (OwnerMovedException)
        {
            this.DeactivateOnIdle();
            throw new LongCtxException(ErrorCode.ShuttingDown, "the conversation is moving to another owner: try again") { RetryAfter = TimeSpan.FromSeconds(1) };
        }
    }

    /// <summary>Why there is no owner. The next call finds out anew: what is not there now may be created.</summary>
    LongCtxException Refused()
    {
        this.DeactivateOnIdle();
        return _refusal!;
    }

    /// <summary>A live turn, or an adapter that has something to learn now or soon: an owner that has done nothing for long leaves by itself.</summary>
    bool IsAtWork => _owner?.State is { Live: not null } or { Adapter.IsEnabled: true };

    /// <summary>An activation counts calls as activity, not what its owner does: while that is at work, a timer holds it.</summary>
    void KeepAlive()
    {
        if (_keepAlive is not null || !IsAtWork) return;
        _keepAlive = this.RegisterGrainTimer(static (grain, _) => grain.CheckWorkAsync(), this, new()
        {
            DueTime = TimeSpan.FromSeconds(20), Period = TimeSpan.FromSeconds(20), Interleave = true, KeepAlive = true,
        });
    }

    Task CheckWorkAsync()
    {
        if (!IsAtWork)
        {
            _keepAlive?.Dispose();
            _keepAlive = null;
        }

        return Task.CompletedTask;
    }

    /// <summary>Fenced, deleted, idle, or the store failed: nothing is acquired again here; the next call activates where the conversation then belongs.</summary>
    async Task LeaveWithOwnerAsync(ConversationOwner owner)
    {
        Leave? left = await owner.Completion;
        if (left is not null) LogLeft(this.GetPrimaryKeyString(), left.Status?.ToString() ?? left.Failure?.Message ?? "the store failed");
        await _leaving.CancelAsync();
        this.DeactivateOnIdle();
    }

    [LoggerMessage(LogLevel.Information, "{Conversation} comes from another silo, at event {Seq} of epoch {Epoch}")]
    partial void LogMoved(string conversation, long seq, long epoch);

    [LoggerMessage(LogLevel.Warning, "events of {Conversation} did not reach their stream: {Reason}")]
    partial void LogNotPublished(string conversation, string reason);

    [LoggerMessage(LogLevel.Warning, "{Conversation} leaves this silo: {Reason}")]
    partial void LogLeft(string conversation, string reason);
}
