using LongCtx.Cli.Bench;
using LongCtx.Conversations.Storage;
using LongCtx.Storage.Redis;
using LongCtx.Storage.Sqlite;

namespace LongCtx.Stores.Bench;

/// <summary>The same appends to all stores in turn, several times: what else the machine does meanwhile hits them alike.</summary>
internal sealed class StoreComparison(string directory, string? redis, TimeSpan time, CancellationToken cancellation)
{
    static readonly string[] s_policies = ["everysec", "always"];

    /// <summary>Medians over the rounds.</summary>
    public async Task<IReadOnlyList<AppendFigure>> RunAsync(IReadOnlyList<int> writers, int rounds)
    {
        var servers = new List<RedisServer>();
        var addresses = new List<(string Name, string Address)>();
        try
        {
            if (redis is not null) addresses.Add(("redis", redis));
            else
                foreach (string policy in s_policies)
                {
                    servers.Add(await RedisServer.StartAsync(Directory.CreateDirectory(Path.Combine(directory, policy)).FullName, policy, cancellation));
                    addresses.Add(($"redis {policy}", servers[^1].Address));
                }

            var figures = new List<AppendFigure>();
            for (int round = 0; round < rounds; round++)
                foreach (int count in writers)
                {
                    foreach (Durability level in Enum.GetValues<Durability>()) figures.Add(await SqliteAsync(level, count));
                    foreach ((string name, string address) in addresses) figures.Add(await RedisAsync(name, address, count));
                }

            return [.. figures.GroupBy(f => (f.Store, f.Durability, f.Writers)).Select(MedianOf)];
        }
        finally
        {
            foreach (RedisServer server in servers) server.Dispose();
        }
    }

    async Task<AppendFigure> SqliteAsync(Durability level, int writers)
    {
        string place = Path.Combine(directory, "sqlite");
        try
        {
            await using var store = await SqliteConversationStore.OpenAsync(new() { Directory = place, Durability = level }, cancellation);
            return await AppendLoad.RunAsync(store, "sqlite", writers, time, cancellation);
        }
        finally
        {
            Directory.Delete(place, recursive: true);
        }
    }

    /// <summary>Under keys of its own; tombstones go at once, so that a server that others use is left as it was.</summary>
    async Task<AppendFigure> RedisAsync(string name, string address, int writers)
    {
        var options = new RedisStoreOptions { Configuration = address, Durability = Durability.Relaxed, Prefix = "bench-" + Guid.NewGuid().ToString("N"), TombstoneLife = TimeSpan.FromSeconds(1) };
        await using var store = await RedisConversationStore.OpenAsync(options, cancellation);
        return await AppendLoad.RunAsync(store, name, writers, time, cancellation);
    }

    static AppendFigure MedianOf(IEnumerable<AppendFigure> rounds)
    {
        AppendFigure[] all = [.. rounds];
        return all[0] with
        {
            TurnsPerSecond = Median.Of(all.Select(f => f.TurnsPerSecond)), AppendsPerSecond = Median.Of(all.Select(f => f.AppendsPerSecond)),
            P50Ms = Median.Of(all.Select(f => f.P50Ms)), P99Ms = Median.Of(all.Select(f => f.P99Ms)),
        };
    }
}
