using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>Where things lie, seen through Redis' own shell.</summary>
public class KeyTests
{
    static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("default", "conv_1")]
    [InlineData("", "x")]
    [InlineData("{a}", "}b{")]
    [InlineData("a/b", "c")]
    [InlineData("käse", "漢 字*?[")]
    public async Task KeysOfAConversation_ShareOneSlotAndTheirNameGivesTheConversation(string tenant, string id)
    {
        await using var server = await RedisServer.StartAsync("--cluster-enabled", "yes");
        RedisKeys keys = new("lc");
        ConversationKey key = new(tenant, id);
        HashSet<string> slots = [];
        foreach (string name in keys.All(key).Select(k => (string)k!)) slots.Add(await server.ShellAsync("CLUSTER", "KEYSLOT", name));
        Assert.Single(slots);
        Assert.Contains(await server.ShellAsync("CLUSTER", "KEYSLOT", RedisKeys.Member(key)), slots); // the tag alone decides
        Assert.Equal(key, keys.FromHead((string)keys.Head(key)[0]!));
        Assert.Equal(key, RedisKeys.FromMember(RedisKeys.Member(key)));
        Assert.Equal(tenant, keys.FromTenant((string)keys.Tenant(tenant)!));
    }

    [Fact]
    public async Task Conversation_CanBeReadInTheShell()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        var owner = await Samples.StartAsync(store, key);
        await store.AppendAsync(key, Samples.Batch(owner.Epoch, 0, isLive: true) with { Segments = [new(1, 0, new[] { 1, 2 }, "hash")] }, Stop);
        string name = $"lc:{{default/{key.Id}}}";
        Assert.Equal(
            ["lc:live", "lc:tenant:default", $"{name}:head", $"{name}:log", $"{name}:segments", $"{name}:turn-ids", $"{name}:turns"],
            await server.KeysAsync());
        Assert.Equal("1-0\nkind\ndelta\ntokens\n\u0001\0\0\0\nbody\n{\"seq\":1}", await server.ShellAsync("XRANGE", $"{name}:log", "-", "+"));
        Assert.Equal("""{"turn":1,"turnId":"turn-0","payloadHash":"hash","status":"InProgress","startSeq":1,"endSeq":0}""", await server.ShellAsync("ZRANGE", $"{name}:turns", "0", "-1"));
        Assert.Equal("Sea", System.Text.Json.JsonDocument.Parse(await server.ShellAsync("HGET", $"{name}:head", "metadata")).RootElement.GetProperty("title").GetString());
        Assert.Equal("test\n1\nstate 1", await server.ShellAsync("HMGET", $"{name}:head", "owner", "seq", "state"));
    }

    [Fact]
    public async Task Deleted_OnlyTombstonesThatExpireAreLeft()
    {
        await using var server = await RedisServer.StartAsync("--appendfsync", "no");
        Faults.ShiftedClock clock = new();
        await using var store = await server.OpenAsync(o => o with { TombstoneLife = TimeSpan.FromDays(3), Clock = clock });
        for (int i = 1; i <= 100; i++)
        {
            var key = Samples.Key(i, $"tenant-{i % 7}");
            var owner = await Samples.StartAsync(store, key);
            for (int seq = 0; seq < 10; seq++)
                await store.AppendAsync(key, Samples.Batch(owner.Epoch, seq, isLive: seq < 5) with { Segments = [new(seq + 1, seq * 1000, new int[1000], "hash")] }, Stop);
            foreach (string name in new[] { "state", "older" })
                Assert.Equal(AppendStatus.Appended, await store.PutBlobAsync(key, owner.Epoch, name, new(new byte[10_000]), Stop));
            Assert.True(await store.DeleteAsync(key, Stop));
        }
        string[] keys = await server.KeysAsync();
        Assert.Equal(100, keys.Length);
        foreach (string key in keys)
        {
            Assert.EndsWith(":head", key, StringComparison.Ordinal);
            Assert.InRange(long.Parse(await server.ShellAsync("PTTL", key), System.Globalization.CultureInfo.InvariantCulture), 1, (long)TimeSpan.FromDays(3).TotalMilliseconds);
            Assert.InRange(long.Parse(await server.ShellAsync("MEMORY", "USAGE", key), System.Globalization.CultureInfo.InvariantCulture), 1, 1000);
        }
    }

    [Fact]
    public async Task Tombstone_Expired_IdIsFreeAndTheOldOwnerIsStillFenced()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        var owner = await Samples.StartAsync(store, key);
        Assert.True(await store.DeleteAsync(key, Stop));
        Assert.False(await store.CreateAsync(key, Samples.Seed, Stop));
        await server.ShellAsync("PEXPIRE", $"lc:{{{RedisKeys.Member(key)}}}:head", "1");
        while (await store.FindAsync(key, Stop) is not null) await Task.Yield();
        Assert.Equal(AppendStatus.Gone, (await store.AppendAsync(key, Samples.Batch(owner.Epoch, 0), Stop)).Status);
        var next = await Samples.StartAsync(store, key);
        Assert.True(next.Epoch > owner.Epoch);
        Assert.Equal(AppendStatus.Fenced, (await store.AppendAsync(key, Samples.Batch(owner.Epoch, 0), Stop)).Status);
    }

    [Fact]
    public async Task Trimmed_EventsAreGoneFromMemory()
    {
        await using var server = await RedisServer.StartAsync("--appendfsync", "no");
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        var owner = await Samples.StartAsync(store, key);
        for (int seq = 0; seq < 1000; seq += 100) await store.AppendAsync(key, Samples.Batch(owner.Epoch, seq, events: 100), Stop);
        string log = $"lc:{{default/{key.Id}}}:log";
        async Task<long> SizeAsync() => long.Parse(await server.ShellAsync("MEMORY", "USAGE", log, "SAMPLES", "0"), System.Globalization.CultureInfo.InvariantCulture);
        long before = await SizeAsync();
        Assert.Equal(AppendStatus.Appended, await store.TrimAsync(key, owner.Epoch, 990, Stop));
        Assert.Equal("10", await server.ShellAsync("XLEN", log));
        Assert.InRange(await SizeAsync(), 1, before / 4);
    }
}
