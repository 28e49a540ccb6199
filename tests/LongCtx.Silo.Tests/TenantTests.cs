using LongCtx.Conversations.Tests;
using LongCtx.Silo.Grains;

namespace LongCtx.Silo.Tests;

public sealed class TenantTests(TwoSilos fixture) : IClassFixture<TwoSilos>
{
    readonly HostDriver _driver = fixture.Cluster.Driver(fixture.Cluster.Silos[0]);

    /// <summary>A mistake in a gateway must be a refusal: a grain answers only to calls that were made for its own tenant.</summary>
    [Fact]
    public async Task AGrain_RefusesCallsForAnotherTenant_AndForNone()
    {
        string id = await _driver.CreateAsync();
        var grain = fixture.Cluster.Service<IGrainFactory>(fixture.Cluster.Silos[0]).GetGrain<IConversationGrain>(GrainKeys.Of(new(_driver.Tenant, id)));
        TenantFilter.Become(_driver.OtherTenant);
        await Assert.ThrowsAsync<UnauthorizedAccessException>(async () => await grain.ReadEventsAsync(0, 10, TimeSpan.Zero));
        RequestContext.Clear();
        await Assert.ThrowsAsync<UnauthorizedAccessException>(async () => await grain.WakeAsync());
        TenantFilter.Become(_driver.Tenant);
        Assert.Empty((await grain.ReadEventsAsync(0, 10, TimeSpan.Zero)).Unwrap<EventPage>().Events);
    }

    /// <summary>Stateless requests of one chat find the silo that holds its keys, whichever silo takes them.</summary>
    [Fact]
    public async Task AChat_PaysForItsNewTokensOnly_ThroughAnySilo()
    {
        List<ChatMessage> messages = [new("user", "Good evening, captain. Tell me of the sea.")];
        for (int turn = 0; turn < 4; turn++)
        {
            IConversationHost host = fixture.Cluster.HostOf(fixture.Cluster.Silos[turn % 2]);
            Reply reply = await Client.CompleteAsync(host, _driver.Tenant, new() { Messages = messages, MaxTokens = 20, Sampling = SamplingOptions.Greedy });
            if (turn > 0) Assert.InRange(reply.Usage.CachedTokens, reply.Usage.PromptTokens / 2, reply.Usage.PromptTokens - 1);
            messages.AddRange([new("assistant", reply.Text), new("user", "Go on.")]);
        }
    }
}
