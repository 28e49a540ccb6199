using Polly;
using Polly.CircuitBreaker;
using Polly.Retry;
using Polly.Timeout;

namespace LongCtx.Storage.Redis;

/// <summary>The only place where a command is repeated. All of them may be: see <see cref="Scripts"/>.</summary>
internal static class RedisResilience
{
    public static ResiliencePipeline Build(RedisStoreOptions options) =>
        new ResiliencePipelineBuilder { Name = "redis-journal", TimeProvider = options.Clock }
            .AddTimeout(new TimeoutStrategyOptions { Name = "total", Timeout = options.TotalTimeout })
            .AddRetry(new RetryStrategyOptions
            {
                MaxRetryAttempts = int.MaxValue, // until the total time-out: a restart or failover takes seconds
                BackoffType = DelayBackoffType.Exponential,
                UseJitter = true,
                Delay = TimeSpan.FromMilliseconds(50),
                MaxDelay = TimeSpan.FromSeconds(1),
                ShouldHandle = new PredicateBuilder().Handle<Exception>(RedisErrors.MayRepeat),
            })
            // While it is open, callers are told at once instead of all waiting for the total time-out.
            .AddCircuitBreaker(new CircuitBreakerStrategyOptions
            {
                FailureRatio = 0.5,
                MinimumThroughput = 20,
                SamplingDuration = TimeSpan.FromSeconds(10),
                BreakDuration = TimeSpan.FromSeconds(1),
                ShouldHandle = new PredicateBuilder().Handle<Exception>(RedisErrors.CountsAsBroken),
            })
            .AddTimeout(new TimeoutStrategyOptions { Name = "attempt", Timeout = options.AttemptTimeout })
            .Build();
}
