using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>What the server's settings promise, by real servers that have them.</summary>
public class SettingsTests
{
    static CancellationToken Stop => TestContext.Current.CancellationToken;

    const string Weak = "append-only", Every = "appendfsync", Replica = "replica", Eviction = "maxmemory-policy", Rewrite = "no-appendfsync-on-rewrite", Unread = "CONFIG GET";

    public static TheoryData<string, Durability, Durability, string> Cases => new()
    {
        // settings, asked for, holds, what the warnings are about
        { "appendfsync always", Durability.Strict, Durability.Strict, "" },
        { "appendfsync always", Durability.Standard, Durability.Strict, "" },
        { "appendfsync everysec", Durability.Relaxed, Durability.Relaxed, "" },
        { "appendfsync everysec", Durability.Standard, Durability.Relaxed, Replica },
        { "appendfsync everysec|min-replicas-to-write 1|min-replicas-max-lag 2", Durability.Standard, Durability.Standard, "" },
        { "appendfsync everysec|min-replicas-to-write 1|min-replicas-max-lag 10", Durability.Standard, Durability.Relaxed, Replica },
        { "appendfsync no", Durability.Relaxed, Durability.Relaxed, Every },
        { "appendonly no", Durability.Relaxed, Durability.Relaxed, Weak },
        { "appendonly no", Durability.Standard, Durability.Relaxed, $"{Weak},{Replica}" },
        { "appendfsync always|maxmemory-policy allkeys-lru", Durability.Relaxed, Durability.Relaxed, Eviction },
        { "appendfsync always|no-appendfsync-on-rewrite yes", Durability.Standard, Durability.Relaxed, Replica },
        { "rename-command CONFIG \"\"", Durability.Standard, Durability.Relaxed, Unread },
        { "rename-command CONFIG \"\"", Durability.Relaxed, Durability.Relaxed, Unread },
    };

    static string[] Arguments(string settings) =>
        [.. settings.Split('|').SelectMany(s => s.Split(' ').Select((word, i) => i == 0 ? "--" + word : word == "\"\"" ? "" : word))];

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Open_WarnsOfWhatIsWeaker_AndNamesTheLevelThatHolds(string settings, Durability asked, Durability holds, string about)
    {
        await using var server = await RedisServer.StartAsync(Arguments(settings));
        string before = await SettingsAsync(server);
        await using var store = await server.OpenAsync(o => o with { Durability = asked });
        Assert.Equal(holds, store.Description.Holds);
        Assert.Matches($@"^Redis \d+\.\d+\.\d+ at 127\.0\.0\.1:{server.Port}$", store.Description.Name);
        string[] topics = about.Split(',', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(topics.Length, store.Description.Warnings.Count);
        foreach (var (topic, warning) in topics.Zip(store.Description.Warnings))
        {
            Assert.Contains(topic, warning, StringComparison.Ordinal);
            Assert.Contains($"what holds is '{holds.ToString().ToLowerInvariant()}'", warning, StringComparison.Ordinal);
        }
        Assert.Null(await store.FindAsync(Samples.Key(), Stop));
        Assert.Equal(before, await SettingsAsync(server));
    }

    [Theory]
    [InlineData("appendfsync everysec", Every)]
    [InlineData("appendonly no", Weak)]
    [InlineData("maxmemory-policy volatile-lru", Eviction)]
    [InlineData("no-appendfsync-on-rewrite yes", Rewrite)]
    [InlineData("rename-command CONFIG \"\"", Unread)]
    public async Task Open_StrictOnAWeakerServer_IsRefused(string settings, string about)
    {
        await using var server = await RedisServer.StartAsync(Arguments(settings));
        var refusal = await Assert.ThrowsAsync<StoreException>(() => server.OpenAsync(o => o with { Durability = Durability.Strict }));
        Assert.False(refusal.IsTransient);
        Assert.Contains(about, refusal.Message, StringComparison.Ordinal);
        Assert.Contains("what holds is 'relaxed'", refusal.Message, StringComparison.Ordinal);
    }

    static async Task<string> SettingsAsync(RedisServer server) => await server.ShellAsync("CONFIG", "GET", "*");

    [Fact]
    public async Task Open_WrongPassword_SaysSoWithoutIt()
    {
        await using var server = await RedisServer.StartAsync("--requirepass", "the-right-one");
        const string wrong = "s3cret-Wrong";
        var refusal = await Assert.ThrowsAsync<StoreException>(() => server.OpenAsync(o => o with { Configuration = $"{o.Configuration},password={wrong},connectTimeout=500,connectRetry=1" }));
        Assert.Contains(server.Configuration, refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(wrong, refusal.ToString(), StringComparison.Ordinal);

        await using var store = await server.OpenAsync(o => o with { Configuration = o.Configuration + ",password=the-right-one", AttemptTimeout = TimeSpan.FromSeconds(1), TotalTimeout = TimeSpan.FromSeconds(1) });
        await Samples.StartAsync(store, Samples.Key());
        Assert.DoesNotContain("the-right-one", store.Description.ToString(), StringComparison.Ordinal);
        await server.KillAsync();
        var failure = await Assert.ThrowsAsync<StoreException>(async () => await store.FindAsync(Samples.Key(), Stop));
        Assert.DoesNotContain("the-right-one", failure.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData(" , ")]
    [InlineData("password=s3cret")]
    [InlineData("redis://user:s3cret@localhost:6379")]
    [InlineData("user:s3cret@localhost:6379")]
    [InlineData("localhost,password=begin,s3cret")]
    [InlineData("localhost,password=begin,s3cret=end")]
    [InlineData("localhost,passwort=s3cret")]
    [InlineData("localhost,connectTimeout=s3cret")]
    [InlineData("localhost,ssl=s3cret")]
    public async Task Open_UnreadableConnectionString_IsRefusedWithoutRepeatingIt(string text)
    {
        var refusal = await Assert.ThrowsAsync<StoreException>(() => RedisConversationStore.OpenAsync(new() { Configuration = text }, Stop));
        Assert.False(refusal.IsTransient);
        Assert.DoesNotContain("s3cret", refusal.ToString(), StringComparison.Ordinal);
        Assert.Contains("host:port", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("a{b")]
    [InlineData("a*")]
    [InlineData("a b")]
    public async Task Open_PrefixWithOtherCharacters_IsRefused(string prefix) =>
        Assert.Contains(nameof(RedisStoreOptions.Prefix), (await Assert.ThrowsAsync<StoreException>(
            () => RedisConversationStore.OpenAsync(new() { Configuration = "localhost", Prefix = prefix }, Stop))).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Open_TotalTimeoutBelowOneAttempt_IsRefused() =>
        Assert.Contains(nameof(RedisStoreOptions.TotalTimeout), (await Assert.ThrowsAsync<StoreException>(
            () => RedisConversationStore.OpenAsync(new() { Configuration = "localhost", TotalTimeout = TimeSpan.FromSeconds(1) }, Stop))).Message, StringComparison.Ordinal);
}
