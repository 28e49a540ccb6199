using System.Diagnostics;
using LongCtx.Conversations.Local;
using LongCtx.Conversations.Storage;
using LongCtx.Storage.Sqlite;

namespace LongCtx.Cli.Bench;

/// <param name="Writers">Conversations that write at the same time, each one append after another.</param>
/// <param name="TurnsPerSecond">Of all together; a turn is <see cref="StoreBench.AppendsPerTurn"/> appends.</param>
/// <param name="P50Ms">Of one append, acknowledged.</param>
internal sealed record StoreFigure(string Durability, int Writers, double TurnsPerSecond, double AppendsPerSecond, double P50Ms, double P99Ms);

/// <param name="StatelessTokensPerSecond">Of all conversations together, without a journal.</param>
/// <param name="CostPercent">How much slower the durable ones are.</param>
internal sealed record DurabilityCost(int Conversations, double StatelessTokensPerSecond, double DurableTokensPerSecond, double CostPercent);

internal sealed record StoreReport(IReadOnlyList<StoreFigure> Store, DurabilityCost? Decode);

/// <summary>What keeping conversations costs: appends alone, and decoding with a journal against decoding without.</summary>
internal static class StoreBench
{
    /// <summary>Accepted, four groups of eight tokens, completed.</summary>
    public const int AppendsPerTurn = 6;

    const int GroupTokens = 8;

    public static async Task<StoreFigure> WriteAsync(string directory, Durability durability, int writers, TimeSpan time, CancellationToken cancellation)
    {
        var store = await SqliteConversationStore.OpenAsync(new() { Directory = directory, Durability = durability }, cancellation);
        await using (store)
        {
            long end = Stopwatch.GetTimestamp() + (long)(time.TotalSeconds * Stopwatch.Frequency);
            long start = Stopwatch.GetTimestamp();
            double[][] latencies = await Task.WhenAll(Enumerable.Range(0, writers).Select(_ => Task.Run(() => TurnsAsync(store, end, cancellation), cancellation)));
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            double[] all = [.. latencies.SelectMany(l => l).Order()];
            return new(durability.ToString().ToLowerInvariant(), writers, all.Length / AppendsPerTurn / seconds, all.Length / seconds, all[all.Length / 2], all[all.Length * 99 / 100]);
        }
    }

    static async Task<double[]> TurnsAsync(SqliteConversationStore store, long end, CancellationToken cancellation)
    {
        var key = new ConversationKey("bench", ConversationIds.New("bench"));
        await store.CreateAsync(key, new("bench", 0, new Dictionary<string, string>()), cancellation);
        long epoch = (await store.AcquireAsync(key, "bench", cancellation))!.Epoch, seq = 0;
        string text = new('x', 200), state = new('s', 400);
        int[] tokens = [.. Enumerable.Range(0, GroupTokens)];
        var latencies = new List<double>();
        for (int turn = 1; Stopwatch.GetTimestamp() < end; turn++)
        {
            for (int i = 0; i < AppendsPerTurn; i++)
            {
                var info = new TurnInfo(turn, $"turn {turn}", "hash", i == AppendsPerTurn - 1 ? TurnStatus.Completed : TurnStatus.InProgress, seq - i + 1, i == AppendsPerTurn - 1 ? seq + 1 : 0);
                var batch = new AppendBatch(epoch, seq, Guid.NewGuid(), [new(seq + 1, Delta.Kind, tokens, text)], state) { Turns = i is 0 or AppendsPerTurn - 1 ? [info] : [], IsLive = i < AppendsPerTurn - 1 };
                long before = Stopwatch.GetTimestamp();
                seq = (await store.AppendAsync(key, batch, cancellation)).Seq;
                latencies.Add(Stopwatch.GetElapsedTime(before).TotalMilliseconds);
            }
        }

        return [.. latencies];
    }

    /// <summary>Both kinds in turn, <paramref name="runs"/> times; medians.</summary>
    public static async Task<DurabilityCost> DecodeAsync(LocalConversationHost host, int conversations, int tokens, int runs, IReadOnlyDictionary<int, float> neverEnd, CancellationToken cancellation)
    {
        var sampling = SamplingOptions.Greedy with { LogitBias = neverEnd };
        double[] stateless = new double[runs], durable = new double[runs];
        await RunAsync(StatelessAsync); // warms up
        await RunAsync(DurableAsync);
        for (int run = 0; run < runs; run++)
        {
            stateless[run] = await RunAsync(StatelessAsync);
            durable[run] = await RunAsync(DurableAsync);
        }

        double without = Median.Of(stateless), with = Median.Of(durable);
        return new(conversations, without, with, 100 * (1 - with / without));

        async Task<double> RunAsync(Func<int, Task> reply)
        {
            long start = Stopwatch.GetTimestamp();
            await Task.WhenAll(Enumerable.Range(0, conversations).Select(i => Task.Run(() => reply(i), cancellation)));
            return conversations * tokens / Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        static ChatMessage Question(int i) => new("user", $"Tell me the {i}th story about the sea, at length.");

        async Task StatelessAsync(int i)
        {
            var request = new CompletionRequest { Messages = [Question(i)], MaxTokens = tokens, Sampling = sampling };
            await foreach (CompletionEvent _ in host.CompleteAsync(Guid.NewGuid().ToString(), request, cancellation)) { } // a tenant of its own: nothing is cached
        }

        async Task DurableAsync(int i)
        {
            string id = (await host.CreateConversationAsync("bench", new(null), cancellation)).Id;
            await host.SubmitTurnAsync("bench", id, new("turn", [Question(i)]) { Options = new() { MaxTokens = tokens, Sampling = sampling } }, cancellation);
            for (long seq = 0; ;)
            {
                EventPage page = await host.ReadEventsAsync("bench", id, seq, 100, TimeSpan.FromSeconds(10), cancellation);
                if (page.Events.Any(e => e is Completed or Failed or Cancelled)) return;
                seq = page.Events.Count == 0 ? seq : page.Events[^1].Seq;
            }
        }
    }
}
