using LongCtx.Conversations.Tests;
using LongCtx.Silo.Grains;
using Orleans.Core.Internal;
using Orleans.TestingHost;

namespace LongCtx.Silo.Tests;

/// <summary>The same in a real cluster: three silos that compute, one that does not.</summary>
public sealed class ClusterPlacementTests(ThreeSilosAndAGateway fixture) : IClassFixture<ThreeSilosAndAGateway>
{
    const int Conversations = 60;

    [Fact]
    public async Task AGateway_OwnsNone_AndTheOthersShareThem()
    {
        HostDriver driver = fixture.Cluster.Driver(fixture.Cluster.Gateway);
        await FillAsync(driver);
        int Owned(InProcessSiloHandle silo) => fixture.Cluster.Service<GrainRegistry>(silo).Active.Count(a => a.Tenant == driver.Tenant);
        Assert.Equal(0, Owned(fixture.Cluster.Gateway));
        int[] owned = [.. fixture.Cluster.Engines.Select(Owned)];
        Assert.Equal(Conversations, owned.Sum());
        Assert.All(owned, n => Assert.InRange(n, 5, 40));
    }

    [Fact]
    public async Task OfThoseThatLeft_AllButAFew_ReturnToTheirSilo()
    {
        HostDriver driver = fixture.Cluster.Driver(fixture.Cluster.Engines[0]);
        string[] ids = await FillAsync(driver);
        InProcessSiloHandle[] before = [.. ids.Select(id => fixture.Cluster.OwnerOf(driver.Tenant, id)!)];
        var grains = fixture.Cluster.Service<IGrainFactory>(fixture.Cluster.Silos[0]);
        foreach (string id in ids)
        {
            TenantFilter.Become(driver.Tenant);
            await grains.GetGrain<IGrainManagementExtension>(GrainId.Create("conversation", GrainKeys.Of(new(driver.Tenant, id)))).DeactivateOnIdle();
        }

        foreach (string id in ids) await driver.Host.AppendInputAsync(driver.Tenant, id, new([new("user", "Again.")]));
        int same = ids.Zip(before).Count(pair => fixture.Cluster.OwnerOf(driver.Tenant, pair.First) == pair.Second);
        Assert.True(same >= Conversations * 0.95, $"{same} of {Conversations} came back to their silo");
    }

    static async Task<string[]> FillAsync(HostDriver driver)
    {
        string[] ids = await Task.WhenAll(Enumerable.Range(0, Conversations).Select(_ => driver.CreateAsync()));
        foreach (string id in ids) await driver.Host.AppendInputAsync(driver.Tenant, id, new([new("user", "Hello there.")])); // one by one: crowds are spread
        return ids;
    }
}
