namespace LongCtx.Api;

/// <summary>Settings of the HTTP layer. Validated once, when the endpoints are mapped.</summary>
public sealed class ApiOptions
{
    public const int DefaultMaxBodyBytes = 32 << 20;

    /// <summary>Largest request body; 1 KiB to 1 GiB. A larger one is answered with 413.</summary>
    public int MaxBodyBytes { get; set; } = DefaultMaxBodyBytes;

    /// <summary>Who may use the API; without any key everybody who can connect may, as one tenant.</summary>
    public IReadOnlyList<ApiKey> Keys { get; set; } = [];

    /// <summary>How long a stream stays silent before a comment keeps proxies from closing it; 1 ms to 10 minutes.</summary>
    public TimeSpan Heartbeat { get; set; } = TimeSpan.FromSeconds(15);

    /// <summary>How long running replies may go on after the server was asked to stop; 0 to 10 minutes.</summary>
    public TimeSpan ShutdownGrace { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>Seed of a request that names none. Below 2^53, so that JavaScript clients can send it back.</summary>
    public Func<ulong> NewSeed { get; set; } = () => (ulong)Random.Shared.NextInt64(1L << 53);

    internal void Validate()
    {
        Check(MaxBodyBytes is >= 1 << 10 and <= 1 << 30, nameof(MaxBodyBytes), "1024 to 1073741824 bytes", MaxBodyBytes);
        Check(Heartbeat >= TimeSpan.FromMilliseconds(1) && Heartbeat <= TimeSpan.FromMinutes(10), nameof(Heartbeat), "1 ms to 10 minutes", Heartbeat);
        Check(ShutdownGrace >= TimeSpan.Zero && ShutdownGrace <= TimeSpan.FromMinutes(10), nameof(ShutdownGrace), "0 to 10 minutes", ShutdownGrace);
        ApiKey.Validate(Keys);
    }

    static void Check(bool valid, string name, string range, object value)
    {
        if (!valid) throw new LongCtxException(ErrorCode.InvalidRequest, $"{nameof(ApiOptions)}.{name} must be {range}, not {value}", name);
    }
}
