// Appends to SQLite at every durability and to Redis, one table: dotnet run -c Release --project bench/stores -- --help
using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using LongCtx.Cli;
using LongCtx.Cli.Bench;
using LongCtx.Cli.Options;
using LongCtx.Conversations.Storage;
using LongCtx.Stores.Bench;

const int WritersMax = 1024;
Option<string?> redis = new("--redis") { Description = "A Redis to measure. Unset: two servers of its own, with appendfsync everysec and always.", HelpName = "HOST:PORT" };
Option<string?> data = new("--data") { Description = "Where to write; a directory that is made and removed. Unset: one among the temporary files.", HelpName = "DIR" };
Option<int> seconds = Value.Int("--seconds", "How long each figure is timed in each round.", 1, 600, 3);
Option<int[]?> writers = Value.IntList("--writers", "Conversations that append at the same time (1,16,64).", WritersMax);
Option<int> rounds = Value.Int("--rounds", "All stores in turn, so often; figures are medians.", 1, 100, 3);
Option<bool> json = new("--json") { Description = "Write JSON, one object a line." };
var command = new RootCommand("Turns per second and latency of appends: SQLite at each level of durability against Redis.") { redis, data, seconds, writers, rounds, json };
command.SetAction(async (result, cancellation) =>
{
    string directory = Directory.CreateDirectory(Path.Combine(result.GetValue(data) ?? Path.GetTempPath(), "longctx-bench-" + Guid.NewGuid().ToString("N"))).FullName;
    try
    {
        var comparison = new StoreComparison(directory, result.GetValue(redis), TimeSpan.FromSeconds(result.GetValue(seconds)), cancellation);
        foreach (AppendFigure f in await comparison.RunAsync(result.GetValue(writers) is { Length: > 0 } chosen ? chosen : [1, 16, 64], result.GetValue(rounds)))
            Console.WriteLine(result.GetValue(json) ? JsonSerializer.Serialize(f, Json.Options) : string.Create(CultureInfo.InvariantCulture,
                $"{f.Store,-14} {f.Durability,-8} {f.Writers,4} writers {f.TurnsPerSecond,8:F0} turns/s {f.AppendsPerSecond,8:F0} appends/s  p50 {f.P50Ms,7:F2} ms  p99 {f.P99Ms,7:F2} ms"));
        return 0;
    }
    catch (Exception failure) when (failure is StoreException or InvalidOperationException or CheckFailedException)
    {
        Console.Error.WriteLine(failure.Message);
        return 1;
    }
    finally
    {
        Directory.Delete(directory, recursive: true);
    }
});
return await command.Parse(args).InvokeAsync();
