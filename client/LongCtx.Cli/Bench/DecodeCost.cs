using System.Diagnostics;

namespace LongCtx.Cli.Bench;

/// <param name="StatelessTokensPerSecond">Of all conversations together, without a journal.</param>
/// <param name="CostPercent">How much slower the durable ones are: the median over the pairs, because both runs of a pair share what else the machine does.</param>
internal sealed record DecodeCost(int Conversations, double StatelessTokensPerSecond, double DurableTokensPerSecond, double CostPercent)
{
    /// <summary>KV states are saved behind a turn's end, which must not slow down what is timed next.</summary>
    static readonly TimeSpan s_settling = TimeSpan.FromSeconds(1);

    /// <summary>Pairs of both kinds, the one or the other first in turn; medians.</summary>
    public static async Task<DecodeCost> MeasureAsync(BenchHost host, int conversations, int tokens, int runs, CancellationToken cancellation)
    {
        double[] stateless = new double[runs], durable = new double[runs];
        await RunAsync(StatelessAsync); // warms up
        await RunAsync(DurableAsync);
        for (int run = 0; run < runs; run++)
        {
            if (run % 2 == 0) stateless[run] = await RunAsync(StatelessAsync);
            durable[run] = await RunAsync(DurableAsync);
            if (run % 2 == 1) stateless[run] = await RunAsync(StatelessAsync);
        }

        return new(conversations, Median.Of(stateless), Median.Of(durable), Median.Of(stateless.Zip(durable, (without, with) => 100 * (1 - with / without))));

        async Task<double> RunAsync(Func<int, Task> reply)
        {
            await Task.Delay(s_settling, cancellation);
            long start = Stopwatch.GetTimestamp();
            await Task.WhenAll(Enumerable.Range(0, conversations).Select(i => Task.Run(() => reply(i), cancellation)));
            return conversations * tokens / Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        static ChatMessage Question(int i) => new("user", $"Tell me the {i}th story about the sea, at length.");

        async Task StatelessAsync(int i)
        {
            var request = new CompletionRequest { Messages = [Question(i)], MaxTokens = tokens, Sampling = host.Greedy };
            await foreach (CompletionEvent _ in host.Host.CompleteAsync(Guid.NewGuid().ToString(), request, cancellation)) { } // a tenant of its own: nothing is cached
        }

        async Task DurableAsync(int i) => await host.AskAsync(await host.CreateAsync(cancellation), Question(i), tokens, cancellation);
    }
}
