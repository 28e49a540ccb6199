using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Storage.Tests;

namespace LongCtx.Conversations.Tests;

public sealed class DurableConversationTests : ConversationHostConformance
{
    readonly NaiveStore _store = new();

    protected override async Task<HostDriver> OpenAsync() => await DurableHost.OpenAsync(_store);

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
