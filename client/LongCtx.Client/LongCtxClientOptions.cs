namespace LongCtx.Client;

/// <summary>Settings of a client; validated when it is made.</summary>
public sealed record LongCtxClientOptions
{
    /// <summary>Where the server listens.</summary>
    public Uri Server { get; init; } = new("http://127.0.0.1:8080");

    /// <summary>Needed where the server has keys configured.</summary>
    public string? ApiKey { get; init; }

    /// <summary>How long a request is tried again while the server cannot be reached or is busy; then the failure reaches the caller.</summary>
    public TimeSpan RetryFor { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>The same for subscriptions, from the last event on; infinite by default, because the conversation waits too.</summary>
    public TimeSpan ReconnectFor { get; init; } = Timeout.InfiniteTimeSpan;

    /// <summary>Before the first new attempt; each further one waits twice as long, up to <see cref="RetryDelayMax"/>, with a random part.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromMilliseconds(200);

    public TimeSpan RetryDelayMax { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A stream that is silent for so long, heartbeats included, is taken for lost. The server's heartbeats come every 15 s.</summary>
    public TimeSpan SilenceMax { get; init; } = TimeSpan.FromSeconds(45);

    public TimeProvider Time { get; init; } = TimeProvider.System;

    internal void Validate()
    {
        Require(Server is { IsAbsoluteUri: true, Scheme: "http" or "https" }, nameof(Server), "an address like http://127.0.0.1:8080", Server);
        Require(IsTime(RetryFor), nameof(RetryFor), "0 or more, or infinite", RetryFor);
        Require(IsTime(ReconnectFor), nameof(ReconnectFor), "0 or more, or infinite", ReconnectFor);
        Require(RetryDelay > TimeSpan.Zero, nameof(RetryDelay), "more than 0", RetryDelay);
        Require(RetryDelayMax >= RetryDelay, nameof(RetryDelayMax), $"at least {nameof(RetryDelay)}", RetryDelayMax);
        Require(SilenceMax > TimeSpan.Zero, nameof(SilenceMax), "more than 0", SilenceMax);
    }

    static bool IsTime(TimeSpan time) => time >= TimeSpan.Zero || time == Timeout.InfiniteTimeSpan;

    static void Require(bool valid, string name, string range, object value)
    {
        if (!valid) throw new LongCtxException(ErrorCode.InvalidRequest, $"{nameof(LongCtxClientOptions)}.{name} must be {range}, not {value}", name);
    }
}
