using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Storage.Tests;

namespace LongCtx.Conversations.Tests;

public sealed class DurableConversationTests : ConversationHostConformance
{
    readonly NaiveStore _store = new();

    protected override async Task<HostDriver> OpenAsync() => await DurableHost.OpenAsync(_store);

    /// <summary>In a cluster a reader asks the store, not the owner: it may know of the end before the owner does.</summary>
    [Fact]
    public async Task Submit_WhenTheEndIsStoredAndTheOwnerHasNotHeard_StandsInLine()
    {
        var held = new HeldStore(_store, 0, holdsEnds: true);
        await using DurableHost host = await DurableHost.OpenAsync(held);
        string id = await host.CreateAsync();
        await host.SubmitAsync(id, "1", "Hello.", host.Options(8));
        await held.Reached;
        Task<TurnTicket> next = host.SubmitAsync(id, "2", "And?", host.Options(4)).AsTask();
        held.Release();
        Assert.Equal(2, (await next).Turn);
    }

    [Fact]
    public async Task Read_BehindTheBeginning_IsAGap()
    {
        string id;
        await using (DurableHost host = await DurableHost.OpenAsync(_store))
        {
            id = await host.CreateAsync();
            await host.SayAsync(id, "1", "Hello.", 12);
        }

        var key = new ConversationKey(DurableHost.TenantName, id);
        StoredConversation stored = (await _store.FindAsync(key))!;
        await _store.TrimAsync(key, stored.Epoch, 2);
        await using DurableHost later = await DurableHost.OpenAsync(_store);
        Assert.Equal(3, (await later.Host.ReadEventsAsync(key.Tenant, id, 0, 10, TimeSpan.Zero)).Gap);
        Assert.Equal(3, (await later.Host.ReadEventsAsync(key.Tenant, id, 2, 10, TimeSpan.Zero)).Events[0].Seq);
    }
}
