using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using LongCtx.Api.Tests;
using LongCtx.Engine.Tests;
using LongCtx.Storage.Redis.Tests;

namespace LongCtx.Silo.Tests;

/// <summary>
/// Two silo processes and a gateway on one machine, with shorter probes than in production. Three rounds, or as many as CLUSTER_ROUNDS says (`./test.sh --long`: 20).
/// </summary>
public sealed class ProcessTests : IAsyncLifetime
{
    const int Conversations = 4;

    readonly string _directory = Directory.CreateTempSubdirectory("longctx-cluster").FullName;
    RedisServer _redis = null!;
    SiloChild[] _silos = null!;
    SiloChild _gateway = null!;

    static int Rounds => int.Parse(Environment.GetEnvironmentVariable("CLUSTER_ROUNDS") ?? "3", CultureInfo.InvariantCulture);

    public async ValueTask InitializeAsync()
    {
        _redis = await RedisServer.StartAsync("--appendfsync", "everysec");
        string[] cluster = ["--redis", _redis.Configuration, "--durability", "relaxed", "--probe-seconds", "1", "--sweep-seconds", "1", "--drain-seconds", "5"];
        _silos = [.. Enumerable.Range(0, 2).Select(i => new SiloChild([.. cluster, "--model", "pg19-7m", "--capacity", "256", "--threads", "1", "--data", Path.Combine(_directory, $"{i}")]))];
        _gateway = new([.. cluster, "--role", "gateway", "--data", Path.Combine(_directory, "gateway")]);
        await Task.WhenAll([.. _silos.Select(s => s.StartAsync()), _gateway.StartAsync()]);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (SiloChild silo in _silos) await silo.DisposeAsync();
        await _gateway.DisposeAsync();
        await _redis.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task SilosAreKilledAtRandomInstants_NothingAcknowledgedIsLost_AndEveryReplyIsTheUndisturbedOne()
    {
        int seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper!.WriteLine($"seed {seed}");
        var random = new Random(seed);
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        Talk[] talks = [.. Enumerable.Range(0, Conversations).Select(i => new Talk($"talk {i}"))];
        Talk[] twins = [.. Enumerable.Range(0, Conversations).Select(i => new Talk($"twin {i}"))];
        foreach (Talk talk in talks) await talk.RunAsync(_gateway.Client, 1, cancellation);
        for (int round = 0; round < Rounds; round++)
        {
            int turns = talks.Max(t => t.Acknowledged.Count) + 4;
            Task load = Task.WhenAll(talks.Select(t => t.RunAsync(_gateway.Client, turns, cancellation)));
            await Task.Delay(random.Next(50, 1000), cancellation); // the random instant, not a wait for anything
            SiloChild victim = _silos[random.Next(_silos.Length)];
            await victim.KillAsync();
            await load.WaitAsync(TimeSpan.FromSeconds(90), cancellation); // the other one takes over
            Assert.All(talks, t => Assert.Equal(turns, t.Acknowledged.Count));
            await victim.StartAsync();
        }

        await Task.WhenAll(twins.Select((twin, i) => twin.RunAsync(_gateway.Client, talks[i].Acknowledged.Count, cancellation)));
        Assert.Equal(twins.Select(t => t.Texts()), talks.Select(t => t.Texts()));
        double[] pauses = [.. talks.Select(t => t.LongestPause.TotalSeconds).Order()];
        TestContext.Current.TestOutputHelper!.WriteLine($"{talks.Sum(t => t.Acknowledged.Count)} turns; longest pause of a conversation: median {pauses[pauses.Length / 2]:0.0} s, most {pauses[^1]:0.0} s");
    }

    /// <summary>One round: what a killed silo was learning is learned by the next one, and no version is made twice.</summary>
    [Fact]
    public async Task ASiloIsKilled_WhileItsConversationsLearn_EveryChunkIsLearnedOnce()
    {
        int seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper!.WriteLine($"seed {seed}");
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        Talk[] talks = [.. Enumerable.Range(0, Conversations).Select(i => new Talk($"learning {i}", new()
        {
            ["rank"] = 4, ["alpha"] = 4, ["chunk"] = 64, ["prefix"] = 64, ["start_after"] = 0, ["guard"] = false, ["learning_rate"] = 5e-3, ["warm_up"] = 1,
        }))];
        await Task.WhenAll(talks.Select(t => t.RunAsync(_gateway.Client, 4, cancellation)));
        Task load = Task.WhenAll(talks.Select(t => t.RunAsync(_gateway.Client, 10, cancellation)));
        await Task.Delay(new Random(seed).Next(50, 1000), cancellation); // the random instant
        await _silos[0].KillAsync();
        try
        {
            await load.WaitAsync(TimeSpan.FromSeconds(120), cancellation);
        }
        catch (Exception e)
        {
            Assert.Fail($"{e.Message} The gateway says: {_gateway.Errors}");
        }

        foreach (Talk talk in talks)
        {
            Assert.Equal(10, talk.Texts().Length);
            JsonNode[] learned = [.. talk.Seen.Where(e => e["kind"]!.GetValue<string>() == "adapter_updated")];
            Assert.NotEmpty(learned); // how many depends on how busy the machine is
            Assert.Equal(Enumerable.Range(1, learned.Length), learned.Select(e => e["version"]!.GetValue<int>()));
            Assert.Equal(Enumerable.Range(0, learned.Length).Select(i => (i * 64L, i * 64L + 64)), learned.Select(e => (e["update"]!["from"]!.GetValue<long>(), e["update"]!["to"]!.GetValue<long>())));
            JsonNode now = JsonNode.Parse(await _gateway.Client.GetStringAsync($"/v1/conversations/{talk.Id}/adapter", cancellation))!;
            Assert.True(now["version"]!.GetValue<int>() >= learned.Length, "a version that was seen is gone");
        }

        TestContext.Current.TestOutputHelper!.WriteLine($"{talks.Sum(t => t.Seen.Count(e => e["kind"]!.GetValue<string>() == "adapter_updated"))} updates");
    }

    /// <summary>The same with the load that users have for it.</summary>
    [Fact]
    public async Task BenchCluster_WhileASiloIsKilled_FindsNothingMissing()
    {
        string program = Path.Combine(Repository.Root, "client/LongCtx.Cli/bin/Release/net10.0/longctx.dll");
        Assert.SkipUnless(File.Exists(program), $"{program} is not built: dotnet build -c Release client/LongCtx.Cli");
        using Process bench = Process.Start(new ProcessStartInfo("dotnet",
            [program, "bench", "cluster", "--server", _gateway.Client.BaseAddress!.ToString(), "--conversations", "4", "--subscribers", "2", "--turns", "12", "--tokens", "40", "--json"])
        { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true })!;
        Task<string> output = bench.StandardOutput.ReadToEndAsync(), errors = bench.StandardError.ReadToEndAsync();
        await Task.Delay(new Random(7).Next(1500, 2500)); // in the middle of the load
        await _silos[0].KillAsync();
        await bench.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromSeconds(120));
        Assert.True(bench.ExitCode == 0, await errors);
        TestContext.Current.TestOutputHelper!.WriteLine(await output);
        Assert.Equal(48, JsonDocument.Parse(await output).RootElement.GetProperty("turns").GetInt32());
    }

    [Fact]
    public async Task SilosAreRestartedOneAfterAnother_UnderLoad()
    {
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        Talk[] talks = [.. Enumerable.Range(0, Conversations).Select(i => new Talk($"rolling {i}"))];
        Task load = Task.WhenAll(talks.Select(t => t.RunAsync(_gateway.Client, 12, cancellation)));
        foreach (SiloChild silo in _silos)
        {
            Assert.Equal(0, await silo.TerminateAsync());
            await silo.StartAsync();
        }

        await load.WaitAsync(TimeSpan.FromSeconds(90), cancellation);
        Assert.All(talks, t => Assert.Equal(12, t.Texts().Length));
    }
}
