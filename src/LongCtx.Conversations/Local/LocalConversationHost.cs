using System.Collections.Concurrent;
using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Stored;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Conversations.Local;

/// <summary>
/// Conversations and models of one process. Each conversation has at most one owner in it, made when somebody writes to it. Engine and store
/// belong to the host and end with it.
/// </summary>
public sealed class LocalConversationHost : IConversationHost, IAdapterHost, IAsyncDisposable
{
    const int OwnerAttemptsMax = 5;

    /// <summary>Between two tries to go on with a turn whose store failed.</summary>
    static readonly TimeSpan s_orphanRetry = TimeSpan.FromSeconds(2);

    readonly ModelHost _models;
    readonly ConversationRuntime? _runtime;
    readonly ConcurrentDictionary<ConversationKey, Task<ConversationOwner>> _owners = new();
    volatile bool _isClosing;

    /// <param name="engine">Has loaded the models.</param>
    /// <param name="decoders">The first is the default.</param>
    /// <param name="encoders">The first is the default.</param>
    /// <param name="options">Settings for all models.</param>
    /// <param name="conversations">How conversations are kept; null keeps none, and only stateless calls are served.</param>
    /// <exception cref="LongCtxException">A setting cannot be honoured, or two models have the same name.</exception>
    public LocalConversationHost(
        InferenceEngine engine, IReadOnlyList<DecoderModel> decoders, IReadOnlyList<EncoderModel> encoders, LocalHostOptions options,
        ConversationOptions? conversations = null)
        : this(new ModelHost(engine, decoders, encoders, options), conversations)
    {
    }

    /// <param name="models">Belongs to the host from now on.</param>
    /// <param name="conversations">How conversations are kept; null keeps none, and only stateless calls are served.</param>
    /// <exception cref="LongCtxException">A setting cannot be honoured.</exception>
    public LocalConversationHost(ModelHost models, ConversationOptions? conversations = null)
    {
        _models = models;
        _runtime = conversations is null ? null : new(_models, conversations);
    }

    public ValueTask<IReadOnlyList<ModelDescription>> ListModelsAsync(CancellationToken cancellation = default) => _models.ListModelsAsync(cancellation);

    public ValueTask<ModelDescription> LoadAdapterAsync(LoadAdapter request, CancellationToken cancellation = default) => _models.LoadAdapterAsync(request, cancellation);

    public ValueTask UnloadAdapterAsync(string id, CancellationToken cancellation = default) => _models.UnloadAdapterAsync(id, cancellation);

    public IAsyncEnumerable<CompletionEvent> CompleteAsync(string tenant, CompletionRequest request, CancellationToken cancellation = default) =>
        _models.CompleteAsync(tenant, request, cancellation);

    public ValueTask<EmbeddingResult> EmbedAsync(string tenant, EmbeddingRequest request, CancellationToken cancellation = default) =>
        _models.EmbedAsync(tenant, request, cancellation);

    public ValueTask<HostStatus> GetStatusAsync(CancellationToken cancellation = default) => _models.GetStatusAsync(cancellation);

    public async ValueTask<ConversationInfo> CreateConversationAsync(string tenant, CreateConversation request, CancellationToken cancellation = default)
    {
        request.Adapter?.Validate();
        ConversationInfo created = await Stored.CreateAsync(tenant, request, cancellation).ConfigureAwait(false);
        if (request.Adapter is { } adapter) await ConfigureAdapterAsync(tenant, created.Id, adapter, cancellation).ConfigureAwait(false);
        if (request.FirstInput is not { } first) return created;
        await AppendInputAsync(tenant, created.Id, first, cancellation).ConfigureAwait(false);
        return await GetConversationAsync(tenant, created.Id, cancellation).ConfigureAwait(false);
    }

    public ValueTask<ConversationInfo> GetConversationAsync(string tenant, string id, CancellationToken cancellation = default) => Stored.GetAsync(tenant, id, cancellation);

    public ValueTask<Page<ConversationInfo>> ListConversationsAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation = default) =>
        Stored.ListAsync(tenant, after, max, descending, cancellation);

    public ValueTask<ConversationInfo> SetMetadataAsync(string tenant, string id, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default) =>
        Stored.SetMetadataAsync(tenant, id, metadata, cancellation);

    public async ValueTask<TenantUsage> GetUsageAsync(string tenant, CancellationToken cancellation = default)
    {
        long stored = await Stored.CountAsync(tenant, cancellation).ConfigureAwait(false);
        int live = _owners.Count(o => o.Key.Tenant == tenant && o.Value is { IsCompletedSuccessfully: true } owner && owner.Result.State.Live is not null);
        return new(stored, live);
    }

    public async ValueTask DeleteConversationAsync(string tenant, string id, CancellationToken cancellation = default)
    {
        var key = new ConversationKey(tenant, id);
        await Stored.DeleteAsync(tenant, id, cancellation).ConfigureAwait(false);
        if (_owners.TryGetValue(key, out Task<ConversationOwner>? owned) && owned.IsCompletedSuccessfully) await (await owned.ConfigureAwait(false)).AbandonAsync().ConfigureAwait(false);
        Runtime.Forget(key);
    }

    public ValueTask<TurnTicket> SubmitTurnAsync(string tenant, string id, SubmitTurn request, CancellationToken cancellation = default) =>
        new(OnOwnerAsync(new(tenant, id), owner => owner.SubmitAsync(request), cancellation));

    public ValueTask<InputAck> AppendInputAsync(string tenant, string id, AppendInput request, CancellationToken cancellation = default) =>
        new(OnOwnerAsync(new(tenant, id), owner => owner.AppendInputAsync(request), cancellation));

    public ValueTask<TurnInfo> CancelTurnAsync(string tenant, string id, int turn, CancellationToken cancellation = default) =>
        new(OnOwnerAsync(new(tenant, id), owner => owner.CancelAsync(turn), cancellation));

    public ValueTask<EventPage> ReadEventsAsync(string tenant, string id, long after, int max, TimeSpan wait, CancellationToken cancellation = default) =>
        Runtime.ReadEventsAsync(new(tenant, id), after, max, wait, cancellation);

    public ValueTask<IReadOnlyList<TurnInfo>> ListTurnsAsync(string tenant, string id, int after, int max, bool descending, CancellationToken cancellation = default) =>
        Stored.ListTurnsAsync(tenant, id, after, max, descending, cancellation);

    public ValueTask<TurnInfo?> FindTurnAsync(string tenant, string id, string turnId, CancellationToken cancellation = default) =>
        Stored.FindTurnAsync(tenant, id, turnId, cancellation);

    public ValueTask<ConversationInfo> ForkAsync(string tenant, string id, long? seq, string? idempotencyKey = null, CancellationToken cancellation = default) =>
        Stored.ForkAsync(tenant, id, seq, idempotencyKey, cancellation);

    public ValueTask<AdapterInfo> GetAdapterAsync(string tenant, string id, CancellationToken cancellation = default) => Stored.GetAdapterAsync(tenant, id, cancellation);

    public ValueTask<AdapterInfo> ConfigureAdapterAsync(string tenant, string id, AdapterSettings settings, CancellationToken cancellation = default) =>
        new(OnOwnerAsync(new(tenant, id), owner => owner.ConfigureAdapterAsync(settings), cancellation));

    public ValueTask<AdapterInfo> ResetAdapterAsync(string tenant, string id, bool disable, CancellationToken cancellation = default) =>
        new(OnOwnerAsync(new(tenant, id), owner => owner.ResetAdapterAsync(disable), cancellation));

    public ValueTask<AdapterExport> ExportAdapterAsync(string tenant, string id, CancellationToken cancellation = default) => Stored.ExportAdapterAsync(tenant, id, cancellation);

    public IAsyncEnumerable<string> ExportAsync(string tenant, string id, CancellationToken cancellation = default) => Stored.ExportAsync(tenant, id, cancellation);

    public ValueTask<ConversationInfo> ImportAsync(string tenant, IAsyncEnumerable<string> lines, CancellationToken cancellation = default) =>
        Stored.ImportAsync(tenant, lines, cancellation);

    /// <summary>Goes on with turns that were live when the last process ended.</summary>
    public async Task ResumeAsync(CancellationToken cancellation = default)
    {
        foreach (ConversationKey key in await Stored.ListLiveAsync(cancellation).ConfigureAwait(false))
        {
            try
            {
                await OwnerOfAsync(key, cancellation).ConfigureAwait(false);
            }
            catch (LongCtxException e)
            {
                Runtime.Warn($"the turn in progress of {key.Id} is not resumed: {e.Message}");
            }
        }
    }

    /// <summary>Runs a request on the conversation's owner, on the next one if that one is just leaving.</summary>
    async Task<T> OnOwnerAsync<T>(ConversationKey key, Func<ConversationOwner, Task<T>> run, CancellationToken cancellation)
    {
        for (int attempt = 1; ; attempt++)
        {
            ConversationOwner owner = await OwnerOfAsync(key, cancellation).ConfigureAwait(false);
            try
            {
                // The request goes on when its caller leaves: it is stored or refused, and asking again tells which.
                return await run(owner).WaitAsync(cancellation).ConfigureAwait(false);
            }
            catch (OwnerMovedException) when (attempt < OwnerAttemptsMax)
            {
                await owner.Completion.WaitAsync(cancellation).ConfigureAwait(false);
                if (_owners.TryGetValue(key, out Task<ConversationOwner>? entry) && entry.IsCompletedSuccessfully && entry.Result == owner) _owners.TryRemove(new(key, entry));
            }
            catch (OwnerMovedException)
            {
                throw new LongCtxException(ErrorCode.StoreUnavailable, $"conversation {key.Id} changes its owner again and again: is another server writing to the same store?");
            }
        }
    }

    async Task<ConversationOwner> OwnerOfAsync(ConversationKey key, CancellationToken cancellation)
    {
        if (_isClosing) throw new LongCtxException(ErrorCode.ShuttingDown, "the server is shutting down");
        var entry = new TaskCompletionSource<ConversationOwner>(TaskCreationOptions.RunContinuationsAsynchronously);
        Task<ConversationOwner> owned = _owners.GetOrAdd(key, entry.Task);
        if (owned == entry.Task)
        {
            try
            {
                ConversationOwner owner = await Runtime.ActivateAsync(key, CancellationToken.None).ConfigureAwait(false);
                entry.SetResult(owner);
                _ = ForgetAsync(owner, entry.Task);
            }
            catch (Exception e)
            {
                _owners.TryRemove(new(key, entry.Task));
                entry.SetException(e);
                _ = entry.Task.Exception; // observed
            }
        }

        return await owned.WaitAsync(cancellation).ConfigureAwait(false);
    }

    async Task ForgetAsync(ConversationOwner owner, Task<ConversationOwner> entry)
    {
        Leave? left = await owner.Completion.ConfigureAwait(false);
        _owners.TryRemove(new(owner.Key, entry));
        if (left is null || _isClosing || owner.State.Live is null || left.Status is AppendStatus.Fenced or AppendStatus.Gone || left.Failure is LongCtxException { Code: ErrorCode.Deleted }) return;
        Runtime.Warn($"conversation {owner.Key.Id} stopped at event {owner.State.Seq}: {left.Failure?.Message ?? "the store has another head"}; its turn goes on as soon as the store does");
        while (!_isClosing)
        {
            await Task.Delay(s_orphanRetry, Runtime.Time).ConfigureAwait(false);
            try
            {
                await OwnerOfAsync(owner.Key, CancellationToken.None).ConfigureAwait(false);
                return;
            }
            catch (LongCtxException e) when (e.Code == ErrorCode.StoreUnavailable)
            {
                // Still not.
            }
            catch (LongCtxException)
            {
                return; // deleted, or the server is going down
            }
        }
    }

    /// <summary>Refuses new turns, parks live ones at a stored token, saves, and closes engine and store.</summary>
    public async ValueTask DisposeAsync()
    {
        _isClosing = true;
        if (_runtime is not null)
        {
            ConversationOwner[] owners = [.. _owners.Values.Where(o => o.IsCompletedSuccessfully).Select(o => o.Result)];
            Task parked = Task.WhenAll(owners.Select(o => o.ParkAsync()));
            await Task.WhenAny(parked, Task.Delay(_runtime.Options.ParkTime, _runtime.Time)).ConfigureAwait(false);
        }

        await _models.DisposeAsync().ConfigureAwait(false);
        if (_runtime is not null) await _runtime.Store.DisposeAsync().ConfigureAwait(false);
    }

    StoredConversations Stored => Runtime.Stored;

    ConversationRuntime Runtime => _runtime ?? throw new LongCtxException(ErrorCode.InvalidRequest, "this server keeps no conversations: start it with --data DIR");
}
