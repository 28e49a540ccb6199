using System.CommandLine;
using LongCtx.Cli.Bench;
using LongCtx.Cli.Options;
using LongCtx.Conversations.Storage;
using LongCtx.Storage.Sqlite;

namespace LongCtx.Cli.Commands;

/// <summary>`longctx bench store`: what keeping conversations costs on this machine.</summary>
internal static class BenchStoreCommand
{
    static readonly int[] s_writers = [1, 16, 64];

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        Option<int> threads = Common.Threads();
        Option<string?> data = new("--data") { Description = "Where to write; a directory that is made and removed. Unset: one among the temporary files.", HelpName = "DIR" };
        Option<int> seconds = Value.Int("--seconds", "How long each kind of append is timed; 0 leaves this out.", 0, 600, 3);
        Option<int> conversations = Value.Int("--conversations", "Conversations that decode together, with a journal and without; 0 leaves this out.", 0, 64, 16);
        Option<int> cold = Value.Int("--cold", "Tokens of a conversation that is continued after the host was closed and opened again; 0 leaves this out.", 0, 100_000, 2000);
        Option<int> stored = Value.Int("--stored", "Conversations that are created, kept over a restart, listed and continued; 0 leaves this out.", 0, 1_000_000, 10_000);
        Option<int> streams = Value.Int("--streams", "Event streams that follow a turn over HTTP; 0 leaves this out.", 0, 100_000, 1000);
        Option<int> spread = Value.Int("--stream-conversations", "Conversations that the streams are spread over, each with a turn.", 1, 1000, 1);
        Option<int> tokens = Value.Int("--tokens", "Tokens of each reply that decodes or is followed.", 8, 100_000, 128);
        Option<int> runs = Value.Int("--runs", "Runs, or pairs, of which the medians are taken.", 3, 1000, 5);
        Option<bool> json = Common.Json();
        var command = new Command("store",
            "What keeping conversations costs: appends to the SQLite store, decoding with a journal, a cold start, many stored conversations, many event streams. Everything together takes minutes.")
        {
            model, threads, data, seconds, conversations, cold, stored, streams, spread, tokens, runs, json,
        };
        command.SetAction(async (result, cancellation) =>
        {
            string directory = Path.Combine(result.GetValue(data) ?? Path.GetTempPath(), "longctx-bench-" + Guid.NewGuid().ToString("N"));
            string name = result.GetValue(model)!;
            int count = result.GetValue(runs), cores = result.GetValue(threads);
            try
            {
                var report = new StoreReport(
                    result.GetValue(seconds) is > 0 and var time ? await AppendAsync(directory, TimeSpan.FromSeconds(time), cancellation) : [],
                    result.GetValue(conversations) is > 0 and var together ? await DecodeAsync(name, cores, Under("decode"), together, result.GetValue(tokens), count, cancellation) : null,
                    result.GetValue(cold) is > 0 and var length ? await ColdStart.MeasureAsync(name, cores, Under("cold"), length, count, cancellation) : null,
                    result.GetValue(stored) is > 0 and var many ? await StoredConversations.MeasureAsync(name, cores, Under("stored"), many, count, cancellation) : null,
                    result.GetValue(streams) is > 0 and var open
                        ? await EventStreams.MeasureAsync(name, cores, Under("streams"), open, result.GetValue(spread), result.GetValue(tokens), count, cancellation) : null);
                if (result.GetValue(json)) terminal.WriteJson(report);
                else Print(terminal, report);
                return App.Success;
            }
            finally
            {
                if (Directory.Exists(directory)) Directory.Delete(directory, recursive: true);
            }

            string Under(string part) => Path.Combine(directory, part);
        });
        return command;
    }

    static async Task<IReadOnlyList<AppendFigure>> AppendAsync(string directory, TimeSpan time, CancellationToken cancellation)
    {
        var figures = new List<AppendFigure>();
        foreach (Durability level in Enum.GetValues<Durability>())
            foreach (int writers in s_writers)
            {
                await using var store = await SqliteConversationStore.OpenAsync(new() { Directory = Path.Combine(directory, $"{level}{writers}"), Durability = level }, cancellation);
                figures.Add(await AppendLoad.RunAsync(store, "sqlite", writers, time, cancellation));
            }

        return figures;
    }

    static async Task<DecodeCost> DecodeAsync(string model, int threads, string directory, int conversations, int tokens, int runs, CancellationToken cancellation)
    {
        await using BenchHost host = await BenchHost.OpenAsync(model, threads, directory, cancellation);
        return await DecodeCost.MeasureAsync(host, conversations, tokens, runs, cancellation);
    }

    static void Print(Terminal terminal, StoreReport report)
    {
        if (report.Store.Count > 0)
            terminal.Table(["store", "durability", "writers", "turns/s", "appends/s", "p50 ms", "p99 ms"], report.Store.Select(f => (string[])
                [f.Store, f.Durability, Text.Of(f.Writers), Text.Of(f.TurnsPerSecond, "F0"), Text.Of(f.AppendsPerSecond, "F0"), Text.Of(f.P50Ms, "F2"), Text.Of(f.P99Ms, "F2")]));
        if (report.Decode is { } d)
            terminal.Print($"{d.Conversations} conversations: {d.StatelessTokensPerSecond:F1} tokens/s without a journal, {d.DurableTokensPerSecond:F1} with one (standard): {d.CostPercent:F1} % slower; whole turns {d.TurnCostPercent:F1} %");
        if (report.Cold is { } c)
            terminal.Print($"cold start at {c.Tokens} tokens: first token after {c.SavedMs:F0} ms from the saved state, {c.ReplayMs:F0} ms without one: {c.Ratio:F1} times sooner");
        if (report.Stored is { } s)
        {
            terminal.Print($"{s.Conversations} conversations: {s.CreatedPerSecond:F0} created a second, {s.ActiveResidentMb:F0} MB while all are active, closed in {s.CloseMs:F0} ms, {s.DiskMb:F0} MB on disk");
            terminal.Print($"opened again in {s.OpenMs:F1} ms; a page of {StoredConversations.PageMax} in {s.PageP50Ms:F2} ms (p99 {s.PageP99Ms:F2}); first token after {s.FirstTokenMs:F0} ms; {s.ResidentMb:F0} MB");
        }

        if (report.Streams is { } e)
        {
            terminal.Print($"{e.Streams} streams of {e.Conversations} conversations, open in {e.OpenMs:F0} ms: a turn of {e.Events} events is at the first stream after {e.FirstEndMs:F0} ms and at the last after {e.LastEndMs:F0} ms");
            terminal.Print($"{e.EventsPerSecond:F0} events a second; the server takes {e.IdleResidentMb:F0} MB without streams and {e.ResidentMb:F0} MB with them");
        }
    }
}
