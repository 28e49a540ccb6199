using LongCtx.Conversations.Storage;
using Polly;
using Polly.Retry;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>Pipelines with what can happen to a command on its way.</summary>
internal static class Faults
{
    /// <summary>Every command is carried out, its reply is lost, and it is sent again: as the real pipeline does, without its waiting.</summary>
    public static ResiliencePipeline LoseEveryFirstReply() => new ResiliencePipelineBuilder()
        .AddRetry(new RetryStrategyOptions { MaxRetryAttempts = 1, Delay = TimeSpan.Zero, ShouldHandle = new PredicateBuilder().Handle<TimeoutException>() })
        .AddStrategy(_ => new LostReplies(), new Unnamed())
        .Build();

    /// <summary>Fails for ever from a command on, as for a process that dies there: before it is sent, or after it was carried out.</summary>
    public static ResiliencePipeline DieAt(int command, bool carriedOut) =>
        new ResiliencePipelineBuilder().AddStrategy(_ => new Death(command, carriedOut), new Unnamed()).Build();

    /// <summary>Every command is carried out once more when some later ones have been, as one that timed out on a slow way.</summary>
    public static ResiliencePipeline RepeatLater(int commands) =>
        new ResiliencePipelineBuilder().AddStrategy(_ => new LateRepetition(commands), new Unnamed()).Build();

    static TimeoutException Lost() => new("lost by the test");

    sealed class Unnamed : ResilienceStrategyOptions;

    sealed class LostReplies : ResilienceStrategy
    {
        static readonly ResiliencePropertyKey<bool> IsRepetition = new("repetition");

        protected override async ValueTask<Outcome<TResult>> ExecuteCore<TResult, TState>(
            Func<ResilienceContext, TState, ValueTask<Outcome<TResult>>> callback, ResilienceContext context, TState state)
        {
            var outcome = await callback(context, state);
            if (outcome.Exception is not null || context.Properties.GetValue(IsRepetition, false)) return outcome;
            context.Properties.Set(IsRepetition, true);
            return Outcome.FromException<TResult>(Lost());
        }
    }

    sealed class Death(int command, bool carriedOut) : ResilienceStrategy
    {
        int commands;

        protected override async ValueTask<Outcome<TResult>> ExecuteCore<TResult, TState>(
            Func<ResilienceContext, TState, ValueTask<Outcome<TResult>>> callback, ResilienceContext context, TState state)
        {
            int number = Interlocked.Increment(ref commands);
            if (number < command || (number == command && carriedOut))
            {
                var outcome = await callback(context, state);
                if (number < command) return outcome;
            }
            return Outcome.FromException<TResult>(Lost());
        }
    }

    sealed class LateRepetition(int commands) : ResilienceStrategy
    {
        readonly Queue<Func<Task>> waiting = new();

        protected override async ValueTask<Outcome<TResult>> ExecuteCore<TResult, TState>(
            Func<ResilienceContext, TState, ValueTask<Outcome<TResult>>> callback, ResilienceContext context, TState state)
        {
            var outcome = await callback(context, state);
            Func<Task>? late = null;
            lock (waiting)
            {
                waiting.Enqueue(async () => _ = await callback(context, state));
                if (waiting.Count > commands) late = waiting.Dequeue();
            }
            if (late is not null) await late();
            return outcome;
        }
    }

    /// <summary>Runs on from a moment that a test chooses.</summary>
    public sealed class ShiftedClock : TimeProvider
    {
        long shift;

        public void Advance(TimeSpan by) => Interlocked.Add(ref shift, (long)(by.TotalSeconds * TimestampFrequency));

        public override long GetTimestamp() => base.GetTimestamp() + Interlocked.Read(ref shift);
    }
}

/// <summary>Short names for what the tests store.</summary>
internal static class Samples
{
    public static readonly ConversationSeed Seed = new("small", 1_700_000_000_123, new Dictionary<string, string> { ["title"] = "Sea" });

    public static ConversationKey Key(int number = 1, string tenant = "default") => new(tenant, $"conv_0123abcd{number:x32}");

    public static AppendBatch Batch(long epoch, long expected, bool isLive = false, int events = 1) =>
        new(epoch, expected, Guid.NewGuid(), [.. Enumerable.Range(1, events).Select(i => new StoredEvent(expected + i, "delta", new[] { (int)expected + i }, $"{{\"seq\":{expected + i}}}"))], $"state {expected + events}")
        {
            Turns = [new((int)(expected / 4) + 1, $"turn-{expected / 4}", "hash", isLive ? TurnStatus.InProgress : TurnStatus.Completed, expected + 1, isLive ? 0 : expected + events)],
            IsLive = isLive,
        };

    public static async Task<StoredConversation> StartAsync(IConversationStore store, ConversationKey key)
    {
        Assert.True(await store.CreateAsync(key, Seed, TestContext.Current.CancellationToken));
        return Assert.IsType<StoredConversation>(await store.AcquireAsync(key, "test", TestContext.Current.CancellationToken));
    }

    public static string Text(StoredEvent e) => $"{e.Seq} {e.Kind} {string.Join(' ', e.Tokens.ToArray())} {e.Body}";
}
