using System.Diagnostics;

namespace LongCtx.Cli.Bench;

/// <summary>Replies with a journal against replies without. Costs are medians over the pairs, because both runs of a pair share what else the machine does.</summary>
/// <param name="StatelessTokensPerSecond">Of all conversations together while they decode, by the engine's own clock, without a journal.</param>
/// <param name="CostPercent">How much slower the durable ones decode.</param>
/// <param name="TurnCostPercent">How much slower they are as a whole: created, submitted, prefilled, decoded and read to the end.</param>
internal sealed record DecodeCost(int Conversations, double StatelessTokensPerSecond, double DurableTokensPerSecond, double CostPercent, double TurnCostPercent)
{
    /// <summary>KV states are saved behind a turn's end, which must not slow down what is timed next.</summary>
    static readonly TimeSpan s_settling = TimeSpan.FromSeconds(1);

    /// <summary>Pairs of both kinds, the one or the other first in turn; medians.</summary>
    public static async Task<DecodeCost> MeasureAsync(BenchHost host, int conversations, int tokens, int runs, CancellationToken cancellation)
    {
        (double Decode, double Turn)[] stateless = new (double, double)[runs], durable = new (double, double)[runs];
        await RunAsync(StatelessAsync); // warms up
        await RunAsync(DurableAsync);
        for (int run = 0; run < runs; run++)
        {
            if (run % 2 == 0) stateless[run] = await RunAsync(StatelessAsync);
            durable[run] = await RunAsync(DurableAsync);
            if (run % 2 == 1) stateless[run] = await RunAsync(StatelessAsync);
        }

        return new(conversations, Median.Of(stateless.Select(r => r.Decode)), Median.Of(durable.Select(r => r.Decode)), Cost(r => r.Decode), Cost(r => r.Turn));

        double Cost(Func<(double Decode, double Turn), double> speed) =>
            Median.Of(stateless.Zip(durable, (without, with) => 100 * (1 - speed(with) / speed(without))));

        // Tokens per second of both, from the seconds that each reply took to decode.
        async Task<(double Decode, double Turn)> RunAsync(Func<int, Task<double>> reply)
        {
            await Task.Delay(s_settling, cancellation);
            long start = Stopwatch.GetTimestamp();
            double[] seconds = await Task.WhenAll(Enumerable.Range(0, conversations).Select(i => Task.Run(() => reply(i), cancellation)));
            int all = conversations * tokens;
            return (all / seconds.Average(), all / Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        static ChatMessage Question(int i) => new("user", $"Tell me the {i}th story about the sea, at length.");

        async Task<double> StatelessAsync(int i)
        {
            var request = new CompletionRequest { Messages = [Question(i)], MaxTokens = tokens, Sampling = host.Greedy };
            double seconds = 0;
            await foreach (CompletionEvent e in host.Host.CompleteAsync(Guid.NewGuid().ToString(), request, cancellation)) // a tenant of its own: nothing is cached
                if (e is CompletionFinished { Usage: var usage }) seconds = usage.DecodeSeconds;
            return seconds;
        }

        async Task<double> DurableAsync(int i) =>
            (await host.AskAsync(await host.CreateAsync(cancellation), Question(i), tokens, cancellation)).End.Usage.DecodeSeconds;
    }
}
