using Polly;
using StackExchange.Redis;

namespace LongCtx.Storage.Redis;

/// <summary>
/// Two connections and what stands between them and a caller: time-outs, repetitions, a circuit breaker and readable errors. Big replies go over
/// the second connection, because a connection answers in order and appends must not wait behind them.
/// </summary>
internal sealed class RedisConnection(string name, ConnectionMultiplexer journal, ConnectionMultiplexer bulk, ResiliencePipeline pipeline) : IAsyncDisposable
{
    /// <summary>Kind, version and place.</summary>
    public string Name => name;

    public static async Task<RedisConnection> OpenAsync(string name, ConfigurationOptions configuration, ResiliencePipeline pipeline)
    {
        var journal = await ConnectAsync(configuration, "journal").ConfigureAwait(false);
        var bulk = await ConnectAsync(configuration, "bulk").ConfigureAwait(false);
        return new(name, journal, bulk, pipeline);
    }

    /// <summary>Comes back by itself after every loss; until then calls fail.</summary>
    static Task<ConnectionMultiplexer> ConnectAsync(ConfigurationOptions configuration, string lane)
    {
        var options = configuration.Clone();
        options.AbortOnConnectFail = false;
        options.ReconnectRetryPolicy = new LinearRetry(500);
        options.ClientName ??= "longctx-" + lane;
        return ConnectionMultiplexer.ConnectAsync(options);
    }

    /// <summary>For small replies.</summary>
    public ValueTask<RedisResult> JournalAsync(string what, string script, RedisKey[] keys, RedisValue[] values, CancellationToken cancellation) =>
        EvaluateAsync(journal, what, script, keys, values, cancellation);

    /// <summary>For replies that may be big, and for what nobody waits for.</summary>
    public ValueTask<RedisResult> BulkAsync(string what, string script, RedisKey[] keys, RedisValue[] values, CancellationToken cancellation) =>
        EvaluateAsync(bulk, what, script, keys, values, cancellation);

    async ValueTask<RedisResult> EvaluateAsync(ConnectionMultiplexer lane, string what, string script, RedisKey[] keys, RedisValue[] values, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        try
        {
            return await pipeline.ExecuteAsync(async attempt =>
            {
                var reply = lane.GetDatabase().ScriptEvaluateAsync(script, keys, values);
                // Nobody may be waiting any more when it fails.
                _ = reply.ContinueWith(static r => r.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
                try
                {
                    return await reply.WaitAsync(attempt).ConfigureAwait(false);
                }
                catch (OperationCanceledException e) when (reply.IsCanceled && !attempt.IsCancellationRequested)
                {
                    throw new TimeoutException("the client gave the reply up because its connection was lost", e);
                }
            }, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (RedisErrors.IsFailure(e))
        {
            throw RedisErrors.From(e, name, what);
        }
    }

    /// <summary>Names of the keys on all primaries that match, in no order; one may come twice.</summary>
    public IEnumerable<string> Scan(string pattern)
    {
        foreach (var server in Primaries(bulk))
        {
            using var keys = server.Keys(bulk.GetDatabase().Database, pattern, 250, CommandFlags.None).GetEnumerator();
            while (Next(keys)) yield return keys.Current!;
        }
    }

    bool Next(IEnumerator<RedisKey> keys)
    {
        try
        {
            return keys.MoveNext();
        }
        catch (Exception e) when (RedisErrors.IsFailure(Single(e)))
        {
            throw RedisErrors.From(Single(e), name, "look through its keys");
        }

        // The newer client waits for a task here and throws what the task does.
        static Exception Single(Exception e) => e is AggregateException { InnerException: { } inner } ? inner : e;
    }

    public static IEnumerable<IServer> Primaries(ConnectionMultiplexer multiplexer) =>
#pragma warning disable CS0618 // The older client has no other name for it.
        multiplexer.GetEndPoints().Select(e => multiplexer.GetServer(e)).Where(s => s is { IsConnected: true, IsSlave: false });
#pragma warning restore CS0618

    public async ValueTask DisposeAsync()
    {
        await CloseAsync(journal).ConfigureAwait(false);
        await CloseAsync(bulk).ConfigureAwait(false);
    }

    /// <summary>Without a goodbye to the server, which takes the older client a second; Dispose says one too.</summary>
    public static Task CloseAsync(ConnectionMultiplexer connection) => connection.CloseAsync(allowCommandsToComplete: false);
}
