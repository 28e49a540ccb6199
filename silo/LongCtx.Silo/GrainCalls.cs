using LongCtx.Silo.Grains;
using LongCtx.Silo.Placement;

namespace LongCtx.Silo;

/// <summary>
/// Calls to grains: with the tenant, and again while the cluster finds out that a silo is gone. Everything that is asked is safe to repeat (turn ids, request
/// ids, cursors), because Orleans says of a time-out only that nothing is known.
/// </summary>
internal sealed class GrainCalls(TimeProvider time)
{
    /// <summary>Longer than the cluster needs to declare a silo dead (15 to 30 s).</summary>
    public static readonly TimeSpan PatienceMax = TimeSpan.FromSeconds(60);

    static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(200);

    /// <exception cref="LongCtxException">The grain's refusal, or <see cref="ErrorCode.ShuttingDown"/> when the cluster did not recover in time.</exception>
    public async ValueTask<T> AskAsync<T>(string tenant, Func<ValueTask<Wire>> call, CancellationToken cancellation)
    {
        long start = time.GetTimestamp();
        while (true)
        {
            try
            {
                return await AskOnceAsync<T>(tenant, call, cancellation);
            }
            catch (LongCtxException e) when (e.Code == ErrorCode.ShuttingDown && e.InnerException is not NoEngineException && time.GetElapsedTime(start) < PatienceMax)
            {
                await Task.Delay(s_pause, time, cancellation);
            }
        }
    }

    /// <summary>The same, once: failures of the cluster are <see cref="ErrorCode.ShuttingDown"/>.</summary>
    public async ValueTask<T> AskOnceAsync<T>(string tenant, Func<ValueTask<Wire>> call, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        TenantFilter.Become(tenant);
        try
        {
            return (await call().AsTask().WaitAsync(cancellation)).Unwrap<T>();
        }
        catch (NoEngineException e)
        {
            throw NoEngine(e);
        }
        catch (Exception e) when (e is OrleansException or TimeoutException)
        {
            throw new LongCtxException(ErrorCode.ShuttingDown, "the silo that was asked does not answer: try again", inner: e) { RetryAfter = TimeSpan.FromSeconds(2) };
        }
    }

    public async ValueTask RunAsync(string tenant, Func<ValueTask> call, CancellationToken cancellation) => await AskAsync<bool>(tenant, async () =>
    {
        await call();
        return new Outcome<bool>(true).ToWire();
    }, cancellation);

    /// <summary>For what may as well not happen.</summary>
    public async Task TryRunAsync(string tenant, Func<ValueTask> call)
    {
        try
        {
            TenantFilter.Become(tenant);
            await call();
        }
        catch (Exception e) when (e is OrleansException or TimeoutException or LongCtxException)
        {
            // Whoever needs it asks again.
        }
    }

    public static LongCtxException NoEngine(Exception? inner = null) =>
        new(ErrorCode.ShuttingDown, "no silo of the cluster has this model loaded and takes conversations: start one, or try again", inner: inner) { RetryAfter = TimeSpan.FromSeconds(2) };
}
