using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Redis;

/// <summary>
/// Compares all listings with all heads. What is missing is added at once. An entry without a conversation may belong to a write that is on its
/// way, because the entry comes first: it is removed only if it still stands alone in a run some minutes later.
/// </summary>
internal sealed class ListingRepair(RedisConnection redis, RedisKeys keys, TimeProvider clock) : IDisposable
{
    const int Page = 128;

    /// <summary>Far longer than a call may take.</summary>
    internal static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <param name="Seq">Of an entry among the live ones; null for one in a tenant's listing.</param>
    readonly record struct Entry(ConversationKey Key, long? Seq);

    readonly SemaphoreSlim oneAtATime = new(1);

    /// <summary>Entries that stood alone in the last run, and since when.</summary>
    Dictionary<Entry, long> alone = [];

    public async Task<int> RunAsync(RedisConversationStore store, CancellationToken cancellation)
    {
        await oneAtATime.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            Dictionary<Entry, long> still = [];
            int changes = await AddMissingAsync(store, cancellation).ConfigureAwait(false);
            foreach (string tenant in redis.Scan(keys.TenantPattern).Select(keys.FromTenant).Distinct())
                changes += await RemoveFromTenantAsync(store, tenant, still, cancellation).ConfigureAwait(false);
            changes += await RemoveFromLiveAsync(store, still, cancellation).ConfigureAwait(false);
            alone = still;
            return changes;
        }
        finally
        {
            oneAtATime.Release();
        }
    }

    async Task<int> AddMissingAsync(RedisConversationStore store, CancellationToken cancellation)
    {
        int added = 0;
        foreach (var page in redis.Scan(keys.HeadPattern).Select(keys.FromHead).Chunk(Page))
        {
            foreach (var head in await store.FindHeadsAsync(page, cancellation).ConfigureAwait(false))
            {
                if (head is not { IsDeleted: false, Conversation: var found }) continue;
                if (await store.EnlistAsync(found.Key, cancellation).ConfigureAwait(false)) added++;
                if (head.IsLive && await store.AddLiveAsync(found.Key, found.Seq, cancellation).ConfigureAwait(false)) added++;
            }
        }
        return added;
    }

    async Task<int> RemoveFromTenantAsync(RedisConversationStore store, string tenant, Dictionary<Entry, long> still, CancellationToken cancellation)
    {
        int removed = 0;
        string? after = null;
        while (await store.ReadListAsync(tenant, after, Page, false, cancellation).ConfigureAwait(false) is { Length: > 0 } ids)
        {
            ConversationKey[] page = [.. ids.Select(id => new ConversationKey(tenant, id))];
            var heads = await store.FindHeadsAsync(page, cancellation).ConfigureAwait(false);
            for (int i = 0; i < page.Length; i++)
            {
                bool isOver = heads[i] is null ? IsOver(new(page[i], null), still) : heads[i]!.IsDeleted;
                if (isOver && await store.DelistAsync(page[i]).ConfigureAwait(false)) removed++;
            }
            after = ids[^1];
        }
        return removed;
    }

    async Task<int> RemoveFromLiveAsync(RedisConversationStore store, Dictionary<Entry, long> still, CancellationToken cancellation)
    {
        int removed = 0;
        foreach (var page in (await store.ReadLiveAsync(cancellation).ConfigureAwait(false)).Chunk(Page))
        {
            var heads = await store.FindHeadsAsync([.. page.Select(p => p.Key)], cancellation).ConfigureAwait(false);
            for (int i = 0; i < page.Length; i++)
            {
                if (heads[i] is { IsLive: true } || !IsOver(new(page[i].Key, page[i].Seq), still)) continue;
                if (await store.UnmarkLiveAsync(page[i].Key, page[i].Seq).ConfigureAwait(false)) removed++;
            }
        }
        return removed;
    }

    bool IsOver(Entry entry, Dictionary<Entry, long> still)
    {
        long since = alone.GetValueOrDefault(entry, clock.GetTimestamp());
        still[entry] = since;
        return clock.GetElapsedTime(since) >= Patience;
    }

    public void Dispose() => oneAtATime.Dispose();
}
