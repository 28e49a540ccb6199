using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Storage.Tests;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>The contract on one server for all of it; each test has a prefix of its own.</summary>
public abstract class RedisConformance(RedisConformance.Shared shared, Func<RedisStoreOptions, RedisStoreOptions>? change = null) : ConversationStoreConformance
{
    readonly string prefix = Guid.NewGuid().ToString("N");

    protected override async ValueTask<IConversationStore> OpenAsync() =>
        await RedisConversationStore.OpenAsync(
            (change ?? (o => o))(new() { Configuration = await shared.ConfigurationAsync(), Durability = Durability.Relaxed, Prefix = prefix }),
            TestContext.Current.CancellationToken);

    /// <summary>Started by the first test, because only a test can be skipped.</summary>
    public abstract class Shared : IAsyncDisposable
    {
        readonly List<RedisServer> servers = [];
        string? configuration;

        public async Task<string> ConfigurationAsync()
        {
            if (configuration is not null) return configuration;
            await StartAsync(servers);
            return configuration = string.Join(',', servers.Select(s => s.Configuration));
        }

        protected abstract Task StartAsync(List<RedisServer> started);

        public async ValueTask DisposeAsync()
        {
            foreach (var server in servers) await server.DisposeAsync();
        }
    }

    public sealed class OneServer : Shared
    {
        protected override async Task StartAsync(List<RedisServer> started) => started.Add(await RedisServer.StartAsync("--appendfsync", "everysec"));
    }

    /// <summary>Three primaries: a script on keys of two slots is refused by Redis itself.</summary>
    public sealed class Cluster : Shared
    {
        protected override async Task StartAsync(List<RedisServer> started)
        {
            string[] slots = ["0 5460", "5461 10922", "10923 16383"];
            for (int i = 0; i < slots.Length; i++)
            {
                started.Add(await RedisServer.StartAsync("--appendfsync", "everysec", "--cluster-enabled", "yes"));
                await started[i].ShellAsync("CLUSTER", "SET-CONFIG-EPOCH", $"{i + 1}");
                Assert.Equal("OK", await started[i].ShellAsync(["CLUSTER", "ADDSLOTSRANGE", .. slots[i].Split(' ')]));
            }
            // A meeting may get lost, and each of them has to know of all.
            foreach (var server in started)
            {
                for (string info = ""; !(info.Contains("cluster_state:ok", StringComparison.Ordinal) && info.Contains("cluster_size:3", StringComparison.Ordinal));)
                {
                    foreach (var other in started) await server.ShellAsync("CLUSTER", "MEET", "127.0.0.1", $"{other.Port}");
                    info = await server.ShellAsync("CLUSTER", "INFO");
                }
            }
        }
    }
}

public sealed class ConformanceTests(RedisConformance.OneServer shared) : RedisConformance(shared), IClassFixture<RedisConformance.OneServer>;

public sealed class ClusterConformanceTests(RedisConformance.Cluster shared) : RedisConformance(shared), IClassFixture<RedisConformance.Cluster>;

/// <summary>Every command is carried out twice because the first reply is lost: nobody may notice.</summary>
public sealed class LostReplyConformanceTests(RedisConformance.OneServer shared)
    : RedisConformance(shared, o => o with { Pipeline = Faults.LoseEveryFirstReply() }), IClassFixture<RedisConformance.OneServer>
{
    protected override bool LosesReplies => true;
}
