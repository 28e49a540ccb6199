using System.Collections.Concurrent;

namespace LongCtx.Api;

/// <summary>
/// Holds tenants to the limits of their keys. What may add something is done while the tenant's gate is held, so that requests that come
/// together cannot pass the limit together. A tenant without limits waits for nothing.
/// </summary>
internal sealed class Quotas(IConversationHost host, ApiOptions options)
{
    readonly ConcurrentDictionary<string, SemaphoreSlim> gates = new(StringComparer.Ordinal);

    /// <summary>A place for one more conversation; hold it while the conversation is made.</summary>
    /// <exception cref="LongCtxException">The limit is reached.</exception>
    public ValueTask<IDisposable?> ConversationAsync(string tenant, CancellationToken cancellation) => ConversationAsync(tenant, null, null, cancellation);

    /// <summary>As above, also where <paramref name="key"/> may name one that is there already, which then needs no place.</summary>
    public async ValueTask<IDisposable?> ConversationAsync(string tenant, string? model, string? key, CancellationToken cancellation)
    {
        if (Limit(tenant, k => k.MaxConversations) is not { } max) return null;
        return await EnterAsync(tenant, async () =>
        {
            TenantUsage usage = await host.GetUsageAsync(tenant, cancellation);
            if (usage.Conversations < max || (key is not null && await ExistsAsync(tenant, model, key, cancellation))) return;
            throw new LongCtxException(ErrorCode.LimitReached, $"Tenant {tenant} has {usage.Conversations} conversations of at most {max}: delete one before making another.");
        }, cancellation);
    }

    /// <summary>A place for one more turn in progress; hold it until the turn is accepted.</summary>
    /// <param name="tenant">Whose.</param>
    /// <param name="conversation">As it stands.</param>
    /// <param name="known">Whether the turn has been accepted before.</param>
    /// <param name="cancellation">Ends the wait for the gate.</param>
    public async ValueTask<IDisposable?> TurnAsync(string tenant, ConversationInfo conversation, bool known, CancellationToken cancellation)
    {
        // Where a turn is in progress, the new one is refused, or follows it: the number does not grow.
        if (known || conversation.LiveTurn != 0 || Limit(tenant, k => k.MaxLiveTurns) is not { } max) return null;
        return await EnterAsync(tenant, async () =>
        {
            TenantUsage usage = await host.GetUsageAsync(tenant, cancellation);
            if (usage.LiveTurns >= max)
                throw new LongCtxException(ErrorCode.LimitReached, $"Tenant {tenant} has {usage.LiveTurns} turns in progress of at most {max}: wait for one to end, or cancel one.");
        }, cancellation);
    }

    long? Limit(string tenant, Func<ApiKey, long?> limit) =>
        options.Keys.Where(k => k.Tenant == tenant).Select(limit).FirstOrDefault(l => l is not null);

    async ValueTask<IDisposable> EnterAsync(string tenant, Func<ValueTask> check, CancellationToken cancellation)
    {
        SemaphoreSlim gate = gates.GetOrAdd(tenant, _ => new(1, 1));
        await gate.WaitAsync(cancellation);
        try
        {
            await check();
        }
        catch
        {
            gate.Release();
            throw;
        }
        return new Place(gate);
    }

    async ValueTask<bool> ExistsAsync(string tenant, string? model, string key, CancellationToken cancellation)
    {
        model ??= (await host.ListModelsAsync(cancellation)).FirstOrDefault(m => m.Kind == "decoder")?.Id;
        if (model is null) return false;
        try
        {
            await host.GetConversationAsync(tenant, ConversationIds.FromKey(tenant, model, key), cancellation);
            return true;
        }
        catch (LongCtxException e) when (e.Code == ErrorCode.NotFound)
        {
            return false;
        }
    }

    sealed class Place(SemaphoreSlim gate) : IDisposable
    {
        public void Dispose() => gate.Release();
    }
}
