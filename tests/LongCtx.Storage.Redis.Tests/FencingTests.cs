using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>Epochs, and commands that are carried out late: what is behind the conformance suite's sentences on one server.</summary>
public class FencingTests
{
    static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Acquire_HeadWasRolledBack_EpochRisesAllTheSame()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        var lost = await Samples.StartAsync(store, key);
        string head = (await server.KeysAsync()).Single(k => k.EndsWith(":head", StringComparison.Ordinal));
        // A failover to a server that has not seen the acquisition.
        await server.ShellAsync("HSET", head, "epoch", "0");

        var owner = await store.AcquireAsync(key, "next", Stop);
        Assert.True(owner!.Epoch > lost.Epoch);
        Assert.Equal(AppendStatus.Fenced, (await store.AppendAsync(key, Samples.Batch(lost.Epoch, 0), Stop)).Status);
        Assert.Equal(new(AppendStatus.Appended, 1), await store.AppendAsync(key, Samples.Batch(owner.Epoch, 0), Stop));
    }

    [Fact]
    public async Task Acquire_EpochIsAheadOfTheClock_StillRises()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        await Samples.StartAsync(store, key);
        const long ahead = 4_000_000_000_000;
        string head = (await server.KeysAsync()).Single(k => k.EndsWith(":head", StringComparison.Ordinal));
        await server.ShellAsync("HSET", head, "epoch", $"{ahead}");
        Assert.Equal(ahead + 1, (await store.AcquireAsync(key, "next", Stop))!.Epoch);
        Assert.True(await store.DeleteAsync(key, Stop));
        Assert.Equal(ahead + 2, (await store.FindAsync(key, Stop))!.Epoch);
    }

    [Fact]
    public async Task Append_TwoProcesses_TheOlderNeverGetsAWriteIn()
    {
        await using var server = await RedisServer.StartAsync();
        await using var first = await server.OpenAsync();
        await using var second = await server.OpenAsync();
        for (int round = 1; round <= 20; round++)
        {
            var key = Samples.Key(round);
            var older = await Samples.StartAsync(first, key);
            TaskCompletionSource busy = new(TaskCreationOptions.RunContinuationsAsynchronously);
            var writing = Task.Run(async () =>
            {
                long seq = 0;
                while ((await first.AppendAsync(key, Samples.Batch(older.Epoch, seq), Stop)).Status == AppendStatus.Appended)
                {
                    if (++seq == round % 5) busy.TrySetResult();
                }
                busy.TrySetResult();
                return seq;
            });
            if (round % 5 > 0) await busy.Task;
            var newer = await second.AcquireAsync(key, "second", Stop);
            Assert.Equal(new(AppendStatus.Appended, newer!.Seq + 3), await second.AppendAsync(key, Samples.Batch(newer.Epoch, newer.Seq, events: 3), Stop));
            Assert.Equal(newer.Seq, await writing);
            Assert.Equal(newer.Seq + 3, (await first.FindAsync(key, Stop))!.Seq);
        }
    }

    [Fact]
    public async Task Acquire_CarriedOutLate_TakesNothingFromTheOwner()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        Assert.True(await store.CreateAsync(key, Samples.Seed, Stop));
        var seen = await store.FindAsync(key, Stop);
        var owner = await store.AcquireAsync(key, "owner", Stop);
        string head = (await server.KeysAsync()).Single(k => k.EndsWith(":head", StringComparison.Ordinal));
        Assert.Equal("moved", await server.ShellAsync("EVAL", Scripts.Acquire, "1", head, "late call", $"{seen!.Epoch}", "late"));
        Assert.Equal(owner!.Epoch, (await store.FindAsync(key, Stop))!.Epoch);
    }

    [Fact]
    public async Task SetMetadata_CarriedOutLate_ChangesNothing()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        await Samples.StartAsync(store, key);
        string head = (await server.KeysAsync()).Single(k => k.EndsWith(":head", StringComparison.Ordinal));
        string early = await server.ShellAsync("EVAL", Scripts.MetadataTicket, "1", head);
        Assert.True(await store.SetMetadataAsync(key, new Dictionary<string, string> { ["title"] = "Land" }, Stop));
        Assert.Equal("1", await server.ShellAsync("EVAL", Scripts.SetMetadata, "1", head, early, """{"title":"late"}"""));
        Assert.Equal("Land", (await store.FindAsync(key, Stop))!.Seed.Metadata["title"]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(10)]
    public async Task EveryCommand_CarriedOutAgainLater_LeavesTheConversationsAsTheyWouldBe(int later)
    {
        await using var server = await RedisServer.StartAsync();
        Faults.ShiftedClock clock = new();
        await using var store = await server.OpenAsync(o => o with { Pipeline = Faults.RepeatLater(later), Clock = clock });
        await using var twin = new Conversations.Storage.Tests.NaiveStore();
        foreach (var each in new IConversationStore[] { store, twin }) await History.RunAsync(each);
        await store.RepairListingsAsync(Stop);
        clock.Advance(ListingRepair.Patience);
        await store.RepairListingsAsync(Stop);
        Assert.Equal(await History.DescribeAsync(twin), await History.DescribeAsync(store));
    }
}
