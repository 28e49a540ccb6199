using LongCtx.Server;

namespace LongCtx.Silo;

/// <summary>Settings of one silo: those of a server, and its place in the cluster.</summary>
internal sealed record SiloOptions(ServerOptions Server)
{
    public static readonly IReadOnlyList<string> Names = ["role", "redis", "cluster", "host", "silo-port", "gateway-port", "streams", "drain-seconds", "probe-seconds", "sweep-seconds"];

    /// <summary>Serves HTTP and computes nothing.</summary>
    public bool IsGateway { get; init; }

    /// <summary>Redis for membership, journal and subscriptions, as StackExchange.Redis reads it. Null: a cluster of one, with SQLite.</summary>
    public string? Redis { get; init; }

    /// <summary>Silos with the same name and Redis are one cluster.</summary>
    public string Cluster { get; init; } = "longctx";

    /// <summary>The address that other silos reach this one at.</summary>
    public string Host { get; init; } = "127.0.0.1";

    public int SiloPort { get; init; } = 11111;

    /// <summary>For Orleans clients outside the cluster; never to be opened to the public.</summary>
    public int GatewayPort { get; init; } = 30000;

    /// <summary>Keep the cluster's streams in Redis, so that they outlive silos, instead of in the silos' memory.</summary>
    public bool StreamsInRedis { get; init; }

    /// <summary>How long a silo that leaves may take to stop and move its conversations.</summary>
    public TimeSpan DrainTime { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A silo that does not answer probes for three times as long is declared dead. Long, because engine threads take the processors.</summary>
    public TimeSpan ProbeTime { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Between two looks for live turns that nobody owns.</summary>
    public TimeSpan SweepInterval { get; init; } = TimeSpan.FromSeconds(10);

    public static SiloOptions Read(IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string> environment, string directory)
    {
        var settings = ServerSettings.Collect(arguments, environment, directory, Names);
        SiloOptions defaults = new(settings.ToOptions());
        SiloOptions options = defaults with
        {
            IsGateway = settings.One("role") switch { null or "engine" => false, "gateway" => true, var other => throw Bad("role", $"'{other}' is neither engine nor gateway") },
            Redis = settings.One("redis"),
            Cluster = settings.One("cluster") ?? defaults.Cluster,
            Host = settings.One("host") ?? defaults.Host,
            SiloPort = settings.Integer("silo-port") ?? defaults.SiloPort,
            GatewayPort = settings.Integer("gateway-port") ?? defaults.GatewayPort,
            StreamsInRedis = settings.One("streams") switch { null or "memory" => false, "redis" => true, var other => throw Bad("streams", $"'{other}' is neither memory nor redis") },
            DrainTime = Seconds("drain-seconds") ?? defaults.DrainTime,
            ProbeTime = Seconds("probe-seconds") ?? defaults.ProbeTime,
            SweepInterval = Seconds("sweep-seconds") ?? defaults.SweepInterval,
        };
        options.Validate();
        return options;

        TimeSpan? Seconds(string name) => settings.Integer(name) is { } seconds ? TimeSpan.FromSeconds(seconds) : null;
    }

    /// <exception cref="LongCtxException">An option cannot be honoured.</exception>
    public void Validate()
    {
        Server.Validate();
        if (IsGateway && Redis is null) throw Bad("role", "a gateway needs the silos that compute: give the cluster's --redis");
        if (StreamsInRedis && Redis is null) throw Bad("streams", "streams in Redis need --redis");
        if (Server.Data == ServerOptions.NoData) throw Bad("data", "a silo keeps conversations: name a directory");
        if (Cluster.Length is 0 or > 64 || !Cluster.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_')) throw Bad("cluster", $"'{Cluster}' must be 1 to 64 letters, digits, '-' or '_'");
        if (!System.Net.IPAddress.TryParse(Host, out _)) throw Bad("host", $"'{Host}' is not an IP address of this machine");
        foreach ((string name, int port) in new[] { ("silo-port", SiloPort), ("gateway-port", GatewayPort) })
            if (port is < 1 or > 65535) throw Bad(name, $"{port} is not a port: 1 to 65535");
        if (SiloPort == GatewayPort) throw Bad("gateway-port", $"it must not be the silo port {SiloPort}");
        foreach ((string name, TimeSpan time) in new[] { ("drain-seconds", DrainTime), ("probe-seconds", ProbeTime), ("sweep-seconds", SweepInterval) })
            if (time < TimeSpan.FromSeconds(1) || time > TimeSpan.FromHours(1)) throw Bad(name, "it must be 1 to 3600");
    }

    static LongCtxException Bad(string option, string problem) => new(ErrorCode.InvalidRequest, $"--{option}: {problem}", option);
}
