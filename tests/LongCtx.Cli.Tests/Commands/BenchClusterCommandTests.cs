using System.Text.Json;
using LongCtx.Client.Tests;

namespace LongCtx.Cli.Tests.Commands;

public sealed class BenchClusterCommandTests(RealServer server) : IClassFixture<RealServer>
{
    [Fact]
    public async Task BenchCluster_AServerThatStartsAgainMeanwhile_LosesNothing()
    {
        Task<JsonElement> load = Cli.JsonAsync(
            "bench", "cluster", "--server", server.Address.ToString(), "--conversations", "3", "--subscribers", "2", "--turns", "6", "--tokens", "40");
        await server.StopAsync();
        await server.StartAsync();
        JsonElement report = await load;
        Assert.Equal(
            ["conversations", "subscribers", "turns", "events", "turns_per_second", "tokens_per_second", "first_token_ms", "recoveries"], report.Names());
        Assert.Equal(["count", "p50_seconds", "max_seconds"], report.GetProperty("recoveries").Names());
        Assert.Equal(18, report.GetProperty("turns").GetInt32());
        Assert.True(report.GetProperty("events").GetInt64() >= 2 * 18 * 2, "each turn has at least its beginning and its end, at two subscribers");
        Assert.True(report.GetProperty("tokens_per_second").GetDouble() > 0);
    }
}
