using LongCtx.Conversations.Tests;

namespace LongCtx.Silo.Tests;

public sealed class TwoSilos : IAsyncLifetime
{
    public Cluster Cluster { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Cluster = await Cluster.StartAsync(2);

    public ValueTask DisposeAsync() => Cluster.DisposeAsync();
}

/// <summary>Three silos, asked through a fourth that computes nothing.</summary>
public sealed class ThreeSilosAndAGateway : IAsyncLifetime
{
    public Cluster Cluster { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Cluster = await Cluster.StartAsync(3, gateways: 1);

    public ValueTask DisposeAsync() => Cluster.DisposeAsync();
}

/// <summary>A cluster does what the local host does.</summary>
public sealed class TwoSilosConformanceTests(TwoSilos fixture) : ConversationHostConformance, IClassFixture<TwoSilos>
{
    protected override Task<HostDriver> OpenAsync() =>
        Task.FromResult(fixture.Cluster.Driver(fixture.Cluster.Silos[0]));
}

public sealed class GatewayConformanceTests(ThreeSilosAndAGateway fixture) : ConversationHostConformance, IClassFixture<ThreeSilosAndAGateway>
{
    protected override Task<HostDriver> OpenAsync() =>
        Task.FromResult(fixture.Cluster.Driver(fixture.Cluster.Gateway));
}
