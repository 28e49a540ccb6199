using System.CommandLine;
using LongCtx.Cli.Bench;
using LongCtx.Cli.Options;
using LongCtx.Conversations.Local;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Scheduling;
using LongCtx.Storage.Sqlite;

namespace LongCtx.Cli.Commands;

/// <summary>`longctx bench store`: what durability costs on this machine.</summary>
internal static class BenchStoreCommand
{
    static readonly int[] s_writers = [1, 16, 64];

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        Option<int> threads = Common.Threads();
        Option<string?> data = new("--data") { Description = "Where to write; a directory that is made and removed. Unset: one among the temporary files.", HelpName = "DIR" };
        Option<int> seconds = Value.Int("--seconds", "How long each kind of append is timed.", 1, 600, 3);
        Option<int> conversations = Value.Int("--conversations", "Conversations that decode together, with a journal and without; 0 leaves this out.", 0, 64, 16);
        Option<int> tokens = Value.Int("--tokens", "Tokens of each reply.", 8, 100_000, 128);
        Option<int> runs = Value.Int("--runs", "Pairs of which the medians are taken.", 3, 1000, 5);
        Option<bool> json = Common.Json();
        var command = new Command("store", "Appends per second and latency of the SQLite store at each level of durability, and what `standard` costs a decode.")
        {
            model, threads, data, seconds, conversations, tokens, runs, json,
        };
        command.SetAction(async (result, cancellation) =>
        {
            string directory = Path.Combine(result.GetValue(data) ?? Path.GetTempPath(), "longctx-bench-" + Guid.NewGuid().ToString("N"));
            try
            {
                var figures = new List<StoreFigure>();
                foreach (Durability level in Enum.GetValues<Durability>())
                    foreach (int writers in s_writers)
                        figures.Add(await StoreBench.WriteAsync(Path.Combine(directory, $"{level}{writers}"), level, writers, TimeSpan.FromSeconds(result.GetValue(seconds)), cancellation));
                DurabilityCost? cost = null;
                if (result.GetValue(conversations) is > 0 and var count)
                    cost = await DecodeAsync(directory, result.GetValue(model)!, result.GetValue(threads), count, result.GetValue(tokens), result.GetValue(runs), cancellation);
                var report = new StoreReport(figures, cost);
                if (result.GetValue(json)) terminal.WriteJson(report);
                else Print(terminal, report);
                return App.Success;
            }
            finally
            {
                if (Directory.Exists(directory)) Directory.Delete(directory, recursive: true);
            }
        });
        return command;
    }

    static async Task<DurabilityCost> DecodeAsync(string directory, string model, int threads, int conversations, int tokens, int runs, CancellationToken cancellation)
    {
        var engine = new InferenceEngine(new EngineOptions { Threads = threads });
        DecoderModel decoder = await ModelFiles.LoadDecoderAsync(engine, model);
        var store = await SqliteConversationStore.OpenAsync(new() { Directory = Path.Combine(directory, "decode") }, cancellation);
        await using var host = new LocalConversationHost(engine, [decoder], [], new(), new() { Store = store, KvDirectory = Path.Combine(directory, "kv") });
        return await StoreBench.DecodeAsync(host, conversations, tokens, runs, decoder.StopTokens.ToDictionary(id => id, _ => -100f), cancellation);
    }

    static void Print(Terminal terminal, StoreReport report)
    {
        terminal.Table(["durability", "writers", "turns/s", "appends/s", "p50 ms", "p99 ms"], report.Store.Select(f => (string[])
            [f.Durability, Text.Of(f.Writers), Text.Of(f.TurnsPerSecond, "F0"), Text.Of(f.AppendsPerSecond, "F0"), Text.Of(f.P50Ms, "F2"), Text.Of(f.P99Ms, "F2")]));
        if (report.Decode is { } d)
            terminal.Print($"{d.Conversations} conversations: {d.StatelessTokensPerSecond:F1} tokens/s without a journal, {d.DurableTokensPerSecond:F1} with one (standard): {d.CostPercent:F1} % slower");
    }
}
