using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Local;

/// <summary>Durable conversations: each has at most one owner in this process, made when somebody writes to it.</summary>
public sealed partial class LocalConversationHost
{
    const int OwnerAttemptsMax = 5;

    public async ValueTask<ConversationInfo> CreateConversationAsync(string tenant, CreateConversation request, CancellationToken cancellation = default)
    {
        LocalDecoder decoder = FindDecoder(request.Model);
        string model = decoder.Model.Name;
        string id = request.IdempotencyKey is { } idempotency ? ConversationIds.FromKey(tenant, model, idempotency) : ConversationIds.New(model);
        var key = new ConversationKey(tenant, id);
        bool isNew = await Stored(store => store.CreateAsync(key, new(model, Now(), request.Metadata ?? Nothing), cancellation)).ConfigureAwait(false);
        if (request.Messages.Count > 0) // the piece's number makes it appended once, however often the creation is repeated
            await AppendInputAsync(tenant, id, new(request.Messages) { Producer = "create", Number = 1 }, cancellation).ConfigureAwait(false);
        return isNew && request.Messages.Count == 0
            ? new(id, model, Now(), request.Metadata ?? Nothing, 0, 1, 0, 0)
            : await GetConversationAsync(tenant, id, cancellation).ConfigureAwait(false);
    }

    public async ValueTask<ConversationInfo> GetConversationAsync(string tenant, string id, CancellationToken cancellation = default) =>
        InfoOf(await FindAsync(new(tenant, id), cancellation).ConfigureAwait(false));

    public async ValueTask<Page<ConversationInfo>> ListConversationsAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation = default)
    {
        var stored = await Stored(store => store.ListAsync(tenant, after, max + 1, descending, cancellation)).ConfigureAwait(false);
        ConversationInfo[] page = [.. stored.Take(max).Select(InfoOf)];
        return new(page, stored.Count > max ? page[^1].Id : null);
    }

    public async ValueTask<ConversationInfo> SetMetadataAsync(string tenant, string id, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default)
    {
        await Stored(store => store.SetMetadataAsync(new(tenant, id), metadata, cancellation)).ConfigureAwait(false);
        return await GetConversationAsync(tenant, id, cancellation).ConfigureAwait(false);
    }

    public async ValueTask DeleteConversationAsync(string tenant, string id, CancellationToken cancellation = default)
    {
        var key = new ConversationKey(tenant, id);
        if (!await Stored(store => store.DeleteAsync(key, cancellation)).ConfigureAwait(false)) await FindAsync(key, cancellation).ConfigureAwait(false);
        if (_owners.TryGetValue(key, out Task<ConversationOwner>? owned) && owned.IsCompletedSuccessfully) await (await owned.ConfigureAwait(false)).AbandonAsync().ConfigureAwait(false);
        Services.Files.Delete(key);
    }

    public ValueTask<TurnTicket> SubmitTurnAsync(string tenant, string id, SubmitTurn request, CancellationToken cancellation = default)
    {
        if (request.TurnId.Length is 0 or > 256) throw Refuse($"a turn id has 1 to 256 characters, not {request.TurnId.Length}", "turn_id");
        if (request.Options.MaxTokens < 1) throw Refuse($"max_tokens = {request.Options.MaxTokens} must be at least 1", "max_tokens");
        if (request.Options.Stop.Contains("")) throw Refuse("a stop text must not be empty", "stop");
        request.Options.Sampling.Validate();
        string hash = HashOf(JsonSerializer.Serialize(new(request.Messages, request.Options), CommandJson.Default.TurnPayload));
        request = request with { Options = request.Options with { MaxTokens = request.Options.MaxTokens ?? _replyTokensMax } }; // stored, so that a resumed reply has the same end
        return new(OnOwnerAsync(new(tenant, id), owner => owner.SubmitAsync(request, hash), cancellation));
    }

    public ValueTask<InputAck> AppendInputAsync(string tenant, string id, AppendInput request, CancellationToken cancellation = default)
    {
        if (request.Messages.Count == 0) throw Refuse("there is nothing to append: give at least one message", "items");
        if (request.Producer is not null && request.Number < 1) throw Refuse($"a producer counts its pieces from 1 on, not from {request.Number}", "number");
        string hash = HashOf(JsonSerializer.Serialize(new(request.Messages, null), CommandJson.Default.TurnPayload));
        string turnId = request.Producer is { } producer ? $"{producer}#{request.Number}" : Guid.CreateVersion7().ToString();
        return new(OnOwnerAsync(new(tenant, id), owner => owner.AppendInputAsync(request, turnId, hash), cancellation));
    }

    public async ValueTask<TurnInfo> CancelTurnAsync(string tenant, string id, int turn, CancellationToken cancellation = default) =>
        await OnOwnerAsync(new(tenant, id), owner => owner.CancelAsync(turn), cancellation).ConfigureAwait(false);

    public async ValueTask<EventPage> ReadEventsAsync(string tenant, string id, long after, int max, TimeSpan wait, CancellationToken cancellation = default)
    {
        var key = new ConversationKey(tenant, id);
        long start = Services.Time.GetTimestamp();
        while (true)
        {
            using EventHub.Waiter waiter = Services.Hub.Watch(key);
            EventPage page = await ReadAsync().ConfigureAwait(false);
            TimeSpan left = wait - Services.Time.GetElapsedTime(start);
            if (page.Events.Count > 0 || page.Gap > 0 || page.IsRewound || left <= TimeSpan.Zero) return page;
            try
            {
                await waiter.Changed.WaitAsync(left, Services.Time, cancellation).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                // Another process may have written: the last look tells.
            }
        }

        async ValueTask<EventPage> ReadAsync()
        {
            if (Services.Hub.TryRead(key, after, max) is { } recent) return recent;
            StoredConversation stored = await FindAsync(key, cancellation).ConfigureAwait(false);
            if (after > stored.Seq) return new([], stored.Seq, IsRewound: true);
            if (after + 1 < stored.FirstSeq) return new([], stored.Seq, Gap: stored.FirstSeq);
            if (after == stored.Seq) return new([], stored.Seq);
            var events = await Stored(store => store.ReadAsync(key, after, max, cancellation)).ConfigureAwait(false);
            return new([.. events.Select(JournalRecords.ToEvent)], Math.Max(stored.Seq, events.Count == 0 ? 0 : events[^1].Seq));
        }
    }

    public async ValueTask<IReadOnlyList<TurnInfo>> ListTurnsAsync(string tenant, string id, int after, int max, bool descending, CancellationToken cancellation = default)
    {
        var key = new ConversationKey(tenant, id);
        var turns = await Stored(store => store.ReadTurnsAsync(key, after, max, descending, cancellation)).ConfigureAwait(false);
        if (turns.Count == 0) await FindAsync(key, cancellation).ConfigureAwait(false);
        return turns;
    }

    /// <summary>Goes on with turns that were live when the last process ended.</summary>
    public async Task ResumeAsync(CancellationToken cancellation = default)
    {
        foreach (ConversationKey key in await Stored(store => store.ListLiveAsync(cancellation)).ConfigureAwait(false))
        {
            try
            {
                await OwnerOfAsync(key, cancellation).ConfigureAwait(false);
            }
            catch (Exception e) when (e is LongCtxException or StoreException)
            {
                Services.Warn($"the turn in progress of {key.Id} is not resumed: {e.Message}");
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
        if (!ConversationIds.IsConversation(key.Id)) throw Refusals.NotFound(key.Id);
        var entry = new TaskCompletionSource<ConversationOwner>(TaskCreationOptions.RunContinuationsAsynchronously);
        Task<ConversationOwner> owned = _owners.GetOrAdd(key, entry.Task);
        if (owned == entry.Task)
        {
            try
            {
                ConversationOwner owner = await ConversationOwner.ActivateAsync(Services, key, CancellationToken.None).ConfigureAwait(false);
                entry.SetResult(owner);
                _ = ForgetAsync(owner, entry.Task);
            }
            catch (Exception e)
            {
                _owners.TryRemove(new(key, entry.Task));
                entry.SetException(e is StoreException store ? Refusals.Unavailable(store) : e);
                _ = entry.Task.Exception; // observed
            }
        }

        return await owned.WaitAsync(cancellation).ConfigureAwait(false);
    }

    async Task ForgetAsync(ConversationOwner owner, Task<ConversationOwner> entry)
    {
        Leave? left = await owner.Completion.ConfigureAwait(false);
        _owners.TryRemove(new(owner.Key, entry));
        if (left is null || _isClosing || owner.State.Live is null || left.Status is AppendStatus.Fenced or AppendStatus.Gone) return;
        Services.Warn($"conversation {owner.Key.Id} stopped at event {owner.State.Seq}: {left.Failure?.Message ?? "the store has another head"}; its turn goes on as soon as the store does");
        while (!_isClosing)
        {
            await Task.Delay(OwnerServices.OrphanRetry, Services.Time).ConfigureAwait(false);
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
        if (_services is not null)
        {
            ConversationOwner[] owners = [.. _owners.Values.Where(o => o.IsCompletedSuccessfully).Select(o => o.Result)];
            Task parked = Task.WhenAll(owners.Select(o => o.ParkAsync()));
            await Task.WhenAny(parked, Task.Delay(_parkTime, _services.Time)).ConfigureAwait(false);
        }

        await _engine.DisposeAsync().ConfigureAwait(false);
        if (_services is not null) await _services.Store.DisposeAsync().ConfigureAwait(false);
    }

    async ValueTask<StoredConversation> FindAsync(ConversationKey key, CancellationToken cancellation)
    {
        StoredConversation stored = await Stored(store => store.FindAsync(key, cancellation)).ConfigureAwait(false) ?? throw Refusals.NotFound(key.Id);
        return stored.Deleted is null ? stored : throw Refusals.Deleted(key.Id);
    }

    /// <summary>A call to the store, its failures as callers may see them.</summary>
    async ValueTask<T> Stored<T>(Func<IConversationStore, ValueTask<T>> call)
    {
        try
        {
            return await call(Services.Store).ConfigureAwait(false);
        }
        catch (StoreException e)
        {
            throw Refusals.Unavailable(e);
        }
    }

    OwnerServices Services => _services ?? throw new LongCtxException(ErrorCode.InvalidRequest, "this server keeps no conversations: start it with --data DIR");

    long Now() => Services.Now();

    static ConversationInfo InfoOf(StoredConversation stored)
    {
        ConversationState state = ConversationState.Parse(stored.State);
        return new(stored.Key.Id, stored.Seed.Model, stored.Seed.Created, stored.Seed.Metadata, stored.Seq, stored.FirstSeq, state.Turns, state.Tokens)
        {
            LiveTurn = state.Live?.Turn ?? 0, ForkedFrom = stored.Seed.ForkedFrom, Policy = state.Policy,
        };
    }

    static string HashOf(string payload) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(payload)));

    static readonly IReadOnlyDictionary<string, string> Nothing = new Dictionary<string, string>();
}
