using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Stored;

/// <summary>What has to be known of a model to keep conversations with it.</summary>
/// <param name="VocabularySize">Token ids are below it.</param>
public sealed record ConversationModel(string Name, int VocabularySize);

/// <summary>
/// All that can be asked of conversations without owning them: the journal answers. Any process that reaches the store may. Failures of the store are
/// <see cref="ErrorCode.StoreUnavailable"/>.
/// </summary>
/// <param name="store">Belongs to the caller.</param>
/// <param name="process">Names this process, for operators.</param>
/// <param name="find">The model of a name, null being the default one; throws for one that there is not.</param>
public sealed partial class StoredConversations(IConversationStore store, string process, Func<string?, ConversationModel> find, TimeProvider time)
{
    static readonly IReadOnlyDictionary<string, string> s_nothing = new Dictionary<string, string>();

    /// <summary>Creates an empty conversation, or finds the one that the same idempotency key created. Its first messages are for an owner to append.</summary>
    public async ValueTask<ConversationInfo> CreateAsync(string tenant, CreateConversation request, CancellationToken cancellation)
    {
        string model = find(request.Model).Name;
        string id = request.IdempotencyKey is { } idempotency ? ConversationIds.FromKey(tenant, model, idempotency) : ConversationIds.New(model);
        bool isNew = await AskAsync(s => s.CreateAsync(new(tenant, id), new(model, Now(), request.Metadata ?? s_nothing), cancellation)).ConfigureAwait(false);
        return isNew ? new(id, model, Now(), request.Metadata ?? s_nothing, 0, 1, 0, 0) : await GetAsync(tenant, id, cancellation).ConfigureAwait(false);
    }

    public async ValueTask<ConversationInfo> GetAsync(string tenant, string id, CancellationToken cancellation) =>
        InfoOf(await FindAsync(new(tenant, id), cancellation).ConfigureAwait(false));

    public async ValueTask<Page<ConversationInfo>> ListAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation)
    {
        var stored = await AskAsync(s => s.ListAsync(tenant, after, max + 1, descending, cancellation)).ConfigureAwait(false);
        ConversationInfo[] page = [.. stored.Take(max).Select(InfoOf)];
        return new(page, stored.Count > max ? page[^1].Id : null);
    }

    public ValueTask<long> CountAsync(string tenant, CancellationToken cancellation) => AskAsync(s => s.CountAsync(tenant, cancellation));

    public async ValueTask<ConversationInfo> SetMetadataAsync(string tenant, string id, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation)
    {
        await AskAsync(s => s.SetMetadataAsync(new(tenant, id), metadata, cancellation)).ConfigureAwait(false);
        return await GetAsync(tenant, id, cancellation).ConfigureAwait(false);
    }

    /// <summary>Deletes in the store, which fences every owner.</summary>
    /// <exception cref="LongCtxException"><see cref="ErrorCode.NotFound"/>, or <see cref="ErrorCode.Deleted"/> before.</exception>
    public async ValueTask DeleteAsync(string tenant, string id, CancellationToken cancellation)
    {
        var key = new ConversationKey(tenant, id);
        if (!await AskAsync(s => s.DeleteAsync(key, cancellation)).ConfigureAwait(false)) await FindAsync(key, cancellation).ConfigureAwait(false);
    }

    /// <summary>Events behind <paramref name="after"/> that are stored by now.</summary>
    public async ValueTask<EventPage> ReadEventsAsync(ConversationKey key, long after, int max, CancellationToken cancellation)
    {
        StoredConversation stored = await FindAsync(key, cancellation).ConfigureAwait(false);
        if (after > stored.Seq) return new([], stored.Seq, IsRewound: true);
        if (after + 1 < stored.FirstSeq) return new([], stored.Seq, Gap: stored.FirstSeq);
        if (after == stored.Seq) return new([], stored.Seq);
        var events = await AskAsync(s => s.ReadAsync(key, after, max, cancellation)).ConfigureAwait(false);
        return new([.. events.Select(JournalRecords.ToEvent)], Math.Max(stored.Seq, events.Count == 0 ? 0 : events[^1].Seq));
    }

    public async ValueTask<IReadOnlyList<TurnInfo>> ListTurnsAsync(string tenant, string id, int after, int max, bool descending, CancellationToken cancellation)
    {
        var key = new ConversationKey(tenant, id);
        var turns = await AskAsync(s => s.ReadTurnsAsync(key, after, max, descending, cancellation)).ConfigureAwait(false);
        if (turns.Count == 0) await FindAsync(key, cancellation).ConfigureAwait(false);
        return turns;
    }

    public async ValueTask<TurnInfo?> FindTurnAsync(string tenant, string id, string turnId, CancellationToken cancellation)
    {
        var key = new ConversationKey(tenant, id);
        TurnInfo? turn = await AskAsync(s => s.FindTurnAsync(key, turnId, cancellation)).ConfigureAwait(false);
        if (turn is null) await FindAsync(key, cancellation).ConfigureAwait(false);
        return turn;
    }

    /// <summary>Conversations of all tenants in which a turn is in progress.</summary>
    public ValueTask<IReadOnlyList<ConversationKey>> ListLiveAsync(CancellationToken cancellation) => AskAsync(s => s.ListLiveAsync(cancellation));

    async ValueTask<StoredConversation> FindAsync(ConversationKey key, CancellationToken cancellation)
    {
        StoredConversation stored = await AskAsync(s => s.FindAsync(key, cancellation)).ConfigureAwait(false) ?? throw Refusals.NotFound(key.Id);
        return stored.Deleted is null ? stored : throw Refusals.Deleted(key.Id);
    }

    /// <summary>A call to the store, its failures as callers may see them.</summary>
    async ValueTask<T> AskAsync<T>(Func<IConversationStore, ValueTask<T>> call)
    {
        try
        {
            return await call(store).ConfigureAwait(false);
        }
        catch (StoreException e)
        {
            throw Refusals.Unavailable(e);
        }
    }

    long Now() => time.GetUtcNow().ToUnixTimeMilliseconds();

    static ConversationInfo InfoOf(StoredConversation stored)
    {
        ConversationState state = ConversationState.Parse(stored.State);
        return new(stored.Key.Id, stored.Seed.Model, stored.Seed.Created, stored.Seed.Metadata, stored.Seq, stored.FirstSeq, state.Turns, state.Tokens)
        {
            LiveTurn = state.Live?.Turn ?? 0, ForkedFrom = stored.Seed.ForkedFrom, Policy = state.Policy,
        };
    }
}
