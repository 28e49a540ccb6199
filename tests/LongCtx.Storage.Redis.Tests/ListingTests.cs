using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>Listings lie beside the conversations: whatever happens between the two, none is missing for good and none is shown that is not there.</summary>
public class ListingTests
{
    static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ProcessDiesAtAnyCommand_NextOneFindsEveryConversation()
    {
        await using var server = await RedisServer.StartAsync("--appendfsync", "no");
        int deaths = 0;
        for (int command = 1; ; command++)
        {
            bool isWhole = true;
            foreach (bool carriedOut in new[] { false, true })
            {
                string prefix = $"death-{command}-{carriedOut}";
                await using (var dying = await server.OpenAsync(o => o with { Prefix = prefix, Pipeline = Faults.DieAt(command, carriedOut), RepairInterval = TimeSpan.FromDays(1) }))
                {
                    try
                    {
                        await History.RunAsync(dying);
                    }
                    catch (StoreException)
                    {
                        (isWhole, deaths) = (false, deaths + 1);
                    }
                }
                await AssertListingsAgreeAsync(server, prefix);
            }
            if (isWhole) break;
        }
        Assert.True(deaths > 100, $"Only {deaths} deaths: the history makes more commands than that.");
    }

    static async Task AssertListingsAgreeAsync(RedisServer server, string prefix)
    {
        Faults.ShiftedClock clock = new();
        await using var store = await server.OpenAsync(o => o with { Prefix = prefix, Clock = clock });
        // Without any repair: nothing is missing, nothing is shown that is not there.
        var heads = await store.FindHeadsAsync(History.Keys, Stop);
        ConversationKey[] there = [.. heads.Where(h => h is { IsDeleted: false }).Select(h => h!.Conversation.Key)];
        ConversationKey[] live = [.. heads.Where(h => h is { IsLive: true }).Select(h => h!.Conversation.Key)];
        foreach (string tenant in History.Tenants)
            Assert.Equal(there.Where(k => k.Tenant == tenant), (await store.ListAsync(tenant, null, 100, false, Stop)).Select(c => c.Key));
        Assert.Equal(live.ToHashSet(), (await store.ListLiveAsync(Stop)).ToHashSet());
        // With it: not even the entries are one too many.
        await store.RepairListingsAsync(Stop);
        clock.Advance(ListingRepair.Patience);
        await store.RepairListingsAsync(Stop);
        foreach (string tenant in History.Tenants) Assert.Equal(there.Count(k => k.Tenant == tenant), await store.CountAsync(tenant, Stop));
        Assert.Equal(live.ToHashSet(), (await store.ReadLiveAsync(Stop)).Select(e => e.Key).ToHashSet());
    }

    [Fact]
    public async Task Repair_EntriesWereLost_AddsThem()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        for (int i = 1; i <= 300; i++)
        {
            var owner = await Samples.StartAsync(store, Samples.Key(i, $"tenant {i % 3}"));
            if (i % 10 == 0) await store.AppendAsync(Samples.Key(i, $"tenant {i % 3}"), Samples.Batch(owner.Epoch, 0, isLive: true), Stop);
        }
        Assert.True(await store.DeleteAsync(Samples.Key(1, "tenant 1"), Stop));
        await server.ShellAsync("DEL", "lc:live", "lc:tenant:tenant%200", "lc:tenant:tenant%201");
        Assert.Equal((0, 0, 100), (await store.CountAsync("tenant 0", Stop), await store.CountAsync("tenant 1", Stop), await store.CountAsync("tenant 2", Stop)));

        Assert.Equal(199 + 30, await store.RepairListingsAsync(Stop));
        Assert.Equal((100, 99, 100), (await store.CountAsync("tenant 0", Stop), await store.CountAsync("tenant 1", Stop), await store.CountAsync("tenant 2", Stop)));
        Assert.Equal(30, (await store.ListLiveAsync(Stop)).Count);
        Assert.Equal(0, await store.RepairListingsAsync(Stop));
    }

    [Fact]
    public async Task Repair_EntriesStandAlone_AreRemovedOnlyAfterAWhile()
    {
        await using var server = await RedisServer.StartAsync();
        Faults.ShiftedClock clock = new();
        await using var store = await server.OpenAsync(o => o with { Clock = clock });
        var (listed, live, kept) = (Samples.Key(1), Samples.Key(2), Samples.Key(3));
        await Samples.StartAsync(store, kept);
        await server.ShellAsync("ZADD", "lc:tenant:default", "0", listed.Id);
        await server.ShellAsync("ZADD", "lc:live", "7", RedisKeys.Member(live));
        Assert.Equal([kept], (await store.ListAsync("default", null, 10, false, Stop)).Select(c => c.Key));
        Assert.Empty(await store.ListLiveAsync(Stop));

        Assert.Equal(0, await store.RepairListingsAsync(Stop));
        clock.Advance(ListingRepair.Patience - TimeSpan.FromMinutes(1));
        Assert.Equal(0, await store.RepairListingsAsync(Stop));
        // Its creation was on its way.
        Assert.True(await store.CreateAsync(listed, Samples.Seed, Stop));
        clock.Advance(TimeSpan.FromMinutes(2));
        Assert.Equal(1, await store.RepairListingsAsync(Stop));
        Assert.Equal([listed, kept], (await store.ListAsync("default", null, 10, false, Stop)).Select(c => c.Key));
        Assert.Equal("0", await server.ShellAsync("ZCARD", "lc:live"));
    }

    [Fact]
    public async Task Repair_AtStart_RunsByItself()
    {
        await using var server = await RedisServer.StartAsync();
        await using (var store = await server.OpenAsync()) await Samples.StartAsync(store, Samples.Key());
        await server.ShellAsync("DEL", "lc:tenant:default");
        await using var next = await server.OpenAsync();
        while (await next.CountAsync("default", Stop) == 0) await Task.Yield();
    }

    [Fact]
    public async Task Repair_ServerIsFrozen_SaysSoAndIsTriedAgain()
    {
        await using var server = await RedisServer.StartAsync();
        await using (var patient = await server.OpenAsync()) await Samples.StartAsync(patient, Samples.Key());
        TaskCompletionSource<StoreException> failed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var store = await server.OpenAsync(o => o with
        {
            Configuration = o.Configuration + ",syncTimeout=100",
            TotalTimeout = TimeSpan.FromMilliseconds(200),
            AttemptTimeout = TimeSpan.FromMilliseconds(100),
            RepairInterval = TimeSpan.FromSeconds(1),
            OnRepairFailed = e => failed.TrySetResult(e),
        });
        server.Pause();
        Assert.True((await Assert.ThrowsAsync<StoreException>(() => store.RepairListingsAsync(Stop))).IsTransient);
        Assert.True((await failed.Task.WaitAsync(Stop)).IsTransient);
        server.Resume();
        await server.ShellAsync("DEL", "lc:tenant:default");
        while (await server.ShellAsync("ZCARD", "lc:tenant:default") == "0") await Task.Yield();
    }

    [Fact]
    public async Task LiveEntry_OfALaterTurn_OutlivesALateRemoval()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        var owner = await Samples.StartAsync(store, key);
        for (int seq = 0; seq < 4; seq++) await store.AppendAsync(key, Samples.Batch(owner.Epoch, seq, isLive: seq is 0 or 3), Stop);
        // The removal that belonged to the end of the first turn, at seq 2.
        Assert.Equal("0", await server.ShellAsync("EVAL", Scripts.UnmarkLive, "1", "lc:live", RedisKeys.Member(key), "2"));
        Assert.Equal([key], await store.ListLiveAsync(Stop));
    }

    [Fact]
    public async Task LiveEntry_AnotherProcessEndedTheTurn_IsMadeAgain()
    {
        await using var server = await RedisServer.StartAsync();
        await using var first = await server.OpenAsync();
        await using var second = await server.OpenAsync();
        var key = Samples.Key();
        var owner = await Samples.StartAsync(first, key);
        await first.AppendAsync(key, Samples.Batch(owner.Epoch, 0, isLive: true), Stop);
        owner = await second.AcquireAsync(key, "second", Stop);
        await second.AppendAsync(key, Samples.Batch(owner!.Epoch, 1), Stop);
        Assert.Empty(await second.ListLiveAsync(Stop));
        owner = await first.AcquireAsync(key, "first again", Stop);
        await first.AppendAsync(key, Samples.Batch(owner!.Epoch, 2, isLive: true), Stop);
        Assert.Equal([key], await second.ListLiveAsync(Stop));
    }
}
