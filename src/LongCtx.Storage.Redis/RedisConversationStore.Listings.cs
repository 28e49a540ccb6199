using System.Collections.Concurrent;
using LongCtx.Conversations.Storage;
using StackExchange.Redis;

namespace LongCtx.Storage.Redis;

// Listings lie in another slot of a cluster than the conversations, so no script can change both. An entry is written before what it stands for
// and removed after it: a crash in between leaves one too many, never one too few. Readers therefore look at the heads, which are the truth.
partial class RedisConversationStore
{
    const int HeadPage = 128;

    /// <summary>Conversations that this process has marked as live, so that it does so once for each turn.</summary>
    readonly ConcurrentDictionary<ConversationKey, bool> marked = new();

    readonly CancellationTokenSource stop = new();
    readonly ListingRepair repair;
    readonly Task repairs;

    public async ValueTask<IReadOnlyList<StoredConversation>> ListAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation = default)
    {
        List<StoredConversation> all = [];
        while (all.Count < max)
        {
            int count = Math.Min(HeadPage, max - all.Count);
            string[] ids = await ReadListAsync(tenant, after, count, descending, cancellation).ConfigureAwait(false);
            foreach (var head in await FindHeadsAsync([.. ids.Select(id => new ConversationKey(tenant, id))], cancellation).ConfigureAwait(false))
            {
                if (head is { IsDeleted: false }) all.Add(head.Conversation);
            }
            if (ids.Length < count) break;
            after = ids[^1];
        }
        return all;
    }

    /// <summary>Counts entries of the listing: after a crash, one too many until the next repair.</summary>
    public async ValueTask<long> CountAsync(string tenant, CancellationToken cancellation = default) =>
        (long)await redis.BulkAsync("count conversations", Scripts.Count, [keys.Tenant(tenant)], [], cancellation).ConfigureAwait(false);

    public async ValueTask<IReadOnlyList<ConversationKey>> ListLiveAsync(CancellationToken cancellation = default)
    {
        List<ConversationKey> live = [];
        foreach (var page in (await ReadLiveAsync(cancellation).ConfigureAwait(false)).Chunk(HeadPage))
        {
            var heads = await FindHeadsAsync([.. page.Select(p => p.Key)], cancellation).ConfigureAwait(false);
            live.AddRange(heads.Where(h => h is { IsLive: true }).Select(h => h!.Conversation.Key));
        }
        return live;
    }

    internal async ValueTask<string[]> ReadListAsync(string tenant, string? after, int count, bool descending, CancellationToken cancellation)
    {
        string script = descending ? Scripts.ReadListDescending : Scripts.ReadList;
        RedisValue[] values = after is null ? [count] : [count, Values.Text(after)];
        var ids = (RedisValue[])(await redis.BulkAsync("list conversations", script, [keys.Tenant(tenant)], values, cancellation).ConfigureAwait(false))!;
        return [.. ids.Select(Values.Text)];
    }

    internal async ValueTask<(ConversationKey Key, long Seq)[]> ReadLiveAsync(CancellationToken cancellation)
    {
        var entries = (RedisValue[])(await redis.BulkAsync("list live conversations", Scripts.ReadLive, [keys.Live], [], cancellation).ConfigureAwait(false))!;
        return [.. entries.Chunk(2).Select(e => (RedisKeys.FromMember(e[0]!), (long)(double)e[1]))];
    }

    /// <summary>All at once over one connection; null where there is none.</summary>
    internal Task<Head?[]> FindHeadsAsync(IReadOnlyList<ConversationKey> page, CancellationToken cancellation) =>
        Task.WhenAll(page.Select(key => FindHeadAsync(key, cancellation).AsTask()));

    /// <summary>True if it was not listed.</summary>
    internal async ValueTask<bool> EnlistAsync(ConversationKey key, CancellationToken cancellation) =>
        (int)await redis.JournalAsync($"list {key.Id}", Scripts.Enlist, [keys.Tenant(key.Tenant)], [Values.Text(key.Id)], cancellation).ConfigureAwait(false) == 1;

    /// <summary>True if it was listed. That the entry could not be removed is no failure of the caller's: a repair does it later.</summary>
    internal ValueTask<bool> DelistAsync(ConversationKey key) => TryRemoveAsync($"delist {key.Id}", Scripts.Delist, keys.Tenant(key.Tenant), [Values.Text(key.Id)]);

    async ValueTask MarkLiveAsync(ConversationKey key, long seq, CancellationToken cancellation)
    {
        if (marked.ContainsKey(key)) return;
        await AddLiveAsync(key, seq, cancellation).ConfigureAwait(false);
        marked[key] = true;
    }

    /// <summary>True if it was not there.</summary>
    internal async ValueTask<bool> AddLiveAsync(ConversationKey key, long seq, CancellationToken cancellation) =>
        (int)await redis.JournalAsync($"mark {key.Id} as live", Scripts.MarkLive, [keys.Live], [RedisKeys.Member(key), Values.Number(seq)], cancellation).ConfigureAwait(false) == 1;

    /// <summary>Leaves an entry of a later turn than the one that ends at this seq.</summary>
    internal ValueTask<bool> UnmarkLiveAsync(ConversationKey key, long seq)
    {
        marked.TryRemove(key, out _);
        return TryRemoveAsync($"mark {key.Id} as idle", Scripts.UnmarkLive, keys.Live, [RedisKeys.Member(key), Values.Number(seq)]);
    }

    async ValueTask<bool> TryRemoveAsync(string what, string script, RedisKey listing, RedisValue[] values)
    {
        try
        {
            return (int)await redis.JournalAsync(what, script, [listing], values, CancellationToken.None).ConfigureAwait(false) == 1;
        }
        catch (StoreException)
        {
            return false;
        }
    }

    /// <summary>
    /// Makes the listings agree with the conversations, whatever a crash or a failover has done to them. Runs by itself at start and then
    /// regularly. The number of entries that were added or removed.
    /// </summary>
    public Task<int> RepairListingsAsync(CancellationToken cancellation = default) => repair.RunAsync(this, cancellation);

    async Task RepairRegularlyAsync()
    {
        using PeriodicTimer timer = new(options.RepairInterval, options.Clock);
        try
        {
            do
            {
                try
                {
                    await RepairListingsAsync(stop.Token).ConfigureAwait(false);
                }
                catch (StoreException e)
                {
                    options.OnRepairFailed?.Invoke(e);
                }
            }
            while (await timer.WaitForNextTickAsync(stop.Token).ConfigureAwait(false));
        }
        catch (OperationCanceledException)
        {
            // The store is being disposed of.
        }
    }
}
