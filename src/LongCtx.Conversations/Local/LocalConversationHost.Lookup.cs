using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Local;

/// <summary>What limits and idempotent requests have to know.</summary>
public sealed partial class LocalConversationHost
{
    public async ValueTask<TenantUsage> GetUsageAsync(string tenant, CancellationToken cancellation = default)
    {
        long stored = await Stored(store => store.CountAsync(tenant, cancellation)).ConfigureAwait(false);
        int live = _owners.Count(o => o.Key.Tenant == tenant && o.Value is { IsCompletedSuccessfully: true } owner && owner.Result.State.Live is not null);
        return new(stored, live);
    }

    public async ValueTask<TurnInfo?> FindTurnAsync(string tenant, string id, string turnId, CancellationToken cancellation = default)
    {
        var key = new ConversationKey(tenant, id);
        TurnInfo? turn = await Stored(store => store.FindTurnAsync(key, turnId, cancellation)).ConfigureAwait(false);
        if (turn is null) await FindAsync(key, cancellation).ConfigureAwait(false);
        return turn;
    }
}
