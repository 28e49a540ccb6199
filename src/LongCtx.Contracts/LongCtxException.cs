namespace LongCtx;

/// <summary>A failure that a caller can be told about: what happened, where, and what to do.</summary>
public sealed class LongCtxException(ErrorCode code, string message, string? parameter = null, Exception? inner = null)
    : Exception(message, inner)
{
    public ErrorCode Code { get; } = code;

    /// <summary>Name of the offending request field or command-line option, where there is one.</summary>
    public string? Parameter { get; } = parameter;

    /// <summary>When to try again, for <see cref="ErrorCode.QueueFull"/>.</summary>
    public TimeSpan? RetryAfter { get; init; }
}
