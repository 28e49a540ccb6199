using System.Diagnostics;
using LongCtx.Conversations.Storage;

namespace LongCtx.Cli.Bench;

/// <param name="Durability">The level that really holds.</param>
/// <param name="Writers">Conversations that write at the same time, each one append after another.</param>
/// <param name="TurnsPerSecond">Of all together; a turn is <see cref="AppendLoad.AppendsPerTurn"/> appends.</param>
/// <param name="P50Ms">Of one append, acknowledged.</param>
internal sealed record AppendFigure(string Store, string Durability, int Writers, double TurnsPerSecond, double AppendsPerSecond, double P50Ms, double P99Ms);

/// <summary>Conversations that do nothing but append, to any store. What they wrote is deleted at the end.</summary>
internal static class AppendLoad
{
    /// <summary>Accepted, four groups of eight tokens, completed.</summary>
    public const int AppendsPerTurn = 6;

    const string Tenant = "bench";
    const int GroupTokens = 8;

    public static async Task<AppendFigure> RunAsync(IConversationStore store, string name, int writers, TimeSpan time, CancellationToken cancellation)
    {
        ConversationKey[] keys = [.. Enumerable.Range(0, writers).Select(_ => new ConversationKey(Tenant, ConversationIds.New("bench")))];
        try
        {
            long start = Stopwatch.GetTimestamp(), end = start + (long)(time.TotalSeconds * Stopwatch.Frequency);
            double[][] latencies = await Task.WhenAll(keys.Select(key => Task.Run(() => TurnsAsync(store, key, end, cancellation), cancellation)));
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            for (int i = 0; i < writers; i++)
            {
                long head = (await store.FindAsync(keys[i], cancellation))?.Seq ?? 0;
                CheckFailedException.Require(head == latencies[i].Length, $"{store.Description.Name} acknowledged {latencies[i].Length} events of {keys[i].Id} and holds {head}");
            }

            double[] all = [.. latencies.SelectMany(l => l).Order()];
            return new(name, store.Description.Holds.ToString().ToLowerInvariant(), writers, all.Length / AppendsPerTurn / seconds, all.Length / seconds, all[all.Length / 2], all[all.Length * 99 / 100]);
        }
        finally
        {
            foreach (ConversationKey key in keys) await store.DeleteAsync(key, CancellationToken.None);
        }
    }

    /// <summary>Milliseconds of each append.</summary>
    static async Task<double[]> TurnsAsync(IConversationStore store, ConversationKey key, long end, CancellationToken cancellation)
    {
        await store.CreateAsync(key, new("bench", 0, new Dictionary<string, string>()), cancellation);
        long epoch = (await store.AcquireAsync(key, "bench", cancellation))!.Epoch, seq = 0;
        string text = new('x', 200), state = new('s', 400);
        int[] tokens = [.. Enumerable.Range(0, GroupTokens)];
        var latencies = new List<double>();
        for (int turn = 1; turn == 1 || Stopwatch.GetTimestamp() < end; turn++)
        {
            for (int i = 0; i < AppendsPerTurn; i++)
            {
                bool isLast = i == AppendsPerTurn - 1;
                var info = new TurnInfo(turn, $"turn {turn}", "hash", isLast ? TurnStatus.Completed : TurnStatus.InProgress, seq - i + 1, isLast ? seq + 1 : 0);
                var batch = new AppendBatch(epoch, seq, Guid.NewGuid(), [new(seq + 1, Delta.Kind, tokens, text)], state) { Turns = i == 0 || isLast ? [info] : [], IsLive = !isLast };
                long before = Stopwatch.GetTimestamp();
                AppendResult result = await store.AppendAsync(key, batch, cancellation);
                latencies.Add(Stopwatch.GetElapsedTime(before).TotalMilliseconds);
                CheckFailedException.Require(result == new AppendResult(AppendStatus.Appended, seq + 1), $"{store.Description.Name} answered append {seq + 1} of {key.Id} with {result}");
                seq = result.Seq;
            }
        }

        return [.. latencies];
    }
}
