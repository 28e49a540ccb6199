using LongCtx.Conversations.Storage;
using StackExchange.Redis;

namespace LongCtx.Storage.Redis;

/// <summary>
/// Reads the settings of all primaries and compares them with the durability that is asked for. Uses a connection of its own, the only one that
/// may read settings; nothing ever changes them.
/// </summary>
internal static class ServerCheck
{
    static readonly Version Oldest = new(5, 0);

    public static async Task<StoreDescription> RunAsync(ConfigurationOptions configuration, Durability asked, CancellationToken cancellation)
    {
        string place = $"Redis at {ConnectionString.Servers(configuration)}";
        var options = configuration.Clone();
        options.AbortOnConnectFail = true;
        options.AllowAdmin = true;
        options.ClientName ??= "longctx-check";
        try
        {
            var redis = await ConnectionMultiplexer.ConnectAsync(options).WaitAsync(cancellation).ConfigureAwait(false);
            try
            {
                List<ServerSettings> settings = [];
                foreach (var server in RedisConnection.Primaries(redis)) settings.Add(await ReadAsync(server, cancellation).ConfigureAwait(false));
                return Describe(place, settings, asked);
            }
            finally
            {
                await RedisConnection.CloseAsync(redis).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (RedisErrors.IsFailure(e))
        {
            throw RedisErrors.From(e, place, "open the store");
        }
    }

    static async Task<ServerSettings> ReadAsync(IServer server, CancellationToken cancellation)
    {
        string info = await server.InfoRawAsync().WaitAsync(cancellation).ConfigureAwait(false) ?? "";
        Dictionary<string, string>? config;
        try
        {
            var pairs = await server.ConfigGetAsync("*").WaitAsync(cancellation).ConfigureAwait(false);
            config = pairs.ToDictionary(p => p.Key, p => p.Value, StringComparer.Ordinal);
        }
        catch (Exception e) when (e is RedisServerException or RedisCommandException)
        {
            config = null;
        }
        return new(ConnectionString.Text(server.EndPoint), ServerSettings.ParseInfo(info), config);
    }

    internal static StoreDescription Describe(string place, IReadOnlyList<ServerSettings> servers, Durability asked)
    {
        if (servers.Count == 0)
            throw new StoreException($"{place} could not open the store: none of these servers is a primary. Name the primary, or wait for the failover to end.", isTransient: true);
        if (servers.FirstOrDefault(s => s.Version < Oldest) is { } old)
            throw new StoreException($"{old.Place} could not open the store: it is version {old.Version}, which has no streams. Use Redis {Oldest} or newer.", isTransient: false);

        var holds = servers.Min(s => s.Holds);
        string[] warnings = [.. servers.SelectMany(s => s.Weaknesses(asked).Select(w => $"{s.Place}: {w} Asked for was '{Name(asked)}'; what holds is '{Name(s.Holds)}'."))];
        if (asked == Durability.Strict && holds < Durability.Strict)
            throw new StoreException($"{place} is not durable enough to open the store under 'strict'. {string.Join(' ', warnings)}", isTransient: false);
        return new(place.Replace("Redis at", $"Redis {servers[0].Version} at", StringComparison.Ordinal), holds, warnings);
    }

    static string Name(Durability durability) => durability.ToString().ToLowerInvariant();
}
