using System.Globalization;

namespace LongCtx.Api.Tests;

/// <summary>
/// A load of conversations with subscribers; the server is killed at random instants and started again on the same data. Ten rounds, or as
/// many as KILL_ROUNDS says (`./test.sh --long`: 50).
/// </summary>
public sealed class KillTests : IDisposable
{
    const int Conversations = 6;

    readonly string _data = Directory.CreateTempSubdirectory("longctx-kill").FullName;
    readonly string _undisturbed = Directory.CreateTempSubdirectory("longctx-calm").FullName;

    public void Dispose()
    {
        Directory.Delete(_data, recursive: true);
        Directory.Delete(_undisturbed, recursive: true);
    }

    static int Rounds => int.Parse(Environment.GetEnvironmentVariable("KILL_ROUNDS") ?? "10", CultureInfo.InvariantCulture);

    static Task<ServerChild> StartAsync(string data) =>
        ServerChild.StartAsync("--model", "pg19-7m", "--threads", "1", "--capacity", "256", "--data", data, "--log", "warning");

    [Fact]
    public async Task KilledAtRandomInstants_NothingAcknowledgedIsLost_AndEveryReplyIsTheUndisturbedOne()
    {
        int seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper!.WriteLine($"seed {seed}");
        var random = new Random(seed);
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        Talk[] talks = [.. Enumerable.Range(0, Conversations).Select(i => new Talk($"talk {i}"))];
        for (int round = 0; round < Rounds; round++)
        {
            await using ServerChild server = await StartAsync(_data);
            Task load = Task.WhenAll(talks.Select(t => t.RunAsync(server.Client, int.MaxValue, cancellation)));
            await Task.Delay(random.Next(50, 1500), cancellation); // the random instant, not a wait for anything
            await server.KillAsync();
            await load;
        }

        await using (ServerChild last = await StartAsync(_data)) // turns that were live go on by themselves, and their readers see the end
            await Task.WhenAll(talks.Select(t => t.RunAsync(last.Client, t.Acknowledged.Count, cancellation)));
        Assert.Contains(talks, t => t.Acknowledged.Count > 1);
        int epochs = talks.Max(t => t.Seen.Select(e => e["epoch"]!.GetValue<long>()).Distinct().Count());
        TestContext.Current.TestOutputHelper!.WriteLine($"{talks.Sum(t => t.Acknowledged.Count)} turns acknowledged, {talks.Sum(t => t.Seen.Count)} events, {epochs} owners of one conversation");

        await using ServerChild calm = await StartAsync(_undisturbed);
        foreach (Talk talk in talks)
        {
            var twin = new Talk("twin of " + talk.Id);
            string[] texts = talk.Texts();
            // A turn whose acknowledgement died with the server may be in the journal all the same; the other way round would be a loss.
            Assert.InRange(texts.Length, talk.Acknowledged.Count, talk.Acknowledged.Count + 1);
            await twin.RunAsync(calm.Client, texts.Length, cancellation);
            Assert.Equal(twin.Texts(), texts);
        }
    }

    [Fact]
    public async Task Terminated_ItParksWhatIsLive_WithinTenSeconds()
    {
        var talk = new Talk("parked");
        await using (ServerChild server = await StartAsync(_data))
        {
            Task load = talk.RunAsync(server.Client, 3, TestContext.Current.CancellationToken);
            await load;
            load = talk.RunAsync(server.Client, int.MaxValue, TestContext.Current.CancellationToken);
            var (exitCode, took) = await server.TerminateAsync();
            Assert.Equal(0, exitCode);
            Assert.InRange(took, TimeSpan.Zero, TimeSpan.FromSeconds(10));
            await load;
        }

        await using ServerChild next = await StartAsync(_data);
        await talk.RunAsync(next.Client, talk.Acknowledged.Count, TestContext.Current.CancellationToken);
        Assert.Equal(talk.Acknowledged.Count, talk.Texts().Length);
    }
}
