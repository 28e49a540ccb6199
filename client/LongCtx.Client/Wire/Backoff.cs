namespace LongCtx.Client.Wire;

/// <summary>Waits between attempts: each time twice as long, with a random part so that clients do not come back all at once.</summary>
/// <param name="options">Say how long the first and the longest wait are.</param>
/// <param name="patience">From the first failure in a row on; then <see cref="WaitAsync"/> throws it. Infinite never does.</param>
internal sealed class Backoff(LongCtxClientOptions options, TimeSpan patience)
{
    const int DoublingsMax = 16;

    long? failingSince;
    int attempts;

    /// <summary>An attempt has succeeded.</summary>
    public void Reset() => (failingSince, attempts) = (null, 0);

    public async ValueTask WaitAsync(LongCtxException failure, CancellationToken cancellation)
    {
        failingSince ??= options.Time.GetTimestamp();
        TimeSpan longest = options.RetryDelay * (1 << Math.Min(attempts++, DoublingsMax));
        if (longest > options.RetryDelayMax) longest = options.RetryDelayMax;
        TimeSpan wait = longest * (0.5 + Random.Shared.NextDouble() / 2);
        if (failure.RetryAfter is { } asked && asked > wait) wait = asked;
        if (patience != Timeout.InfiniteTimeSpan && options.Time.GetElapsedTime(failingSince.Value) + wait > patience) throw failure;
        await Task.Delay(wait, options.Time, cancellation).ConfigureAwait(false);
    }
}
