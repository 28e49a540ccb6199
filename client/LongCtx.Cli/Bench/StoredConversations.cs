using System.Diagnostics;
using LongCtx.Storage.Sqlite;

namespace LongCtx.Cli.Bench;

/// <summary>Many conversations in one store, each with one input.</summary>
/// <param name="CreatedPerSecond">Created, with the input stored.</param>
/// <param name="ActiveResidentMb">Memory of the process when all have just been written to, so that each still has its owner.</param>
/// <param name="CloseMs">Parking all of them and closing.</param>
/// <param name="DiskMb">The database and the KV states that were saved.</param>
/// <param name="OpenMs">Opening the store again.</param>
/// <param name="PageP50Ms">Of one page of <see cref="PageMax"/> when all are listed.</param>
/// <param name="FirstTokenMs">From a turn in a randomly chosen one to its first token; the median.</param>
/// <param name="ResidentMb">Memory of the process after those turns.</param>
internal sealed record StoredConversations(
    int Conversations, double CreatedPerSecond, double ActiveResidentMb, double CloseMs, double DiskMb, double OpenMs, double PageP50Ms, double PageP99Ms, double FirstTokenMs, double ResidentMb)
{
    public const int PageMax = 100;

    const int Writers = 16, ReplyTokens = 8, Seed = 1;

    public static async Task<StoredConversations> MeasureAsync(string model, int threads, string directory, int conversations, int runs, CancellationToken cancellation)
    {
        var ids = new string[conversations];
        double createSeconds, active;
        long closing;
        await using (BenchHost host = await BenchHost.OpenAsync(model, threads, directory, cancellation))
        {
            long start = Stopwatch.GetTimestamp();
            await Parallel.ForAsync(0, conversations, new ParallelOptions { MaxDegreeOfParallelism = Writers, CancellationToken = cancellation }, async (i, stop) =>
            {
                ids[i] = await host.CreateAsync(stop);
                await host.Host.AppendInputAsync(BenchHost.Tenant, ids[i], new([Input(i)]), stop);
            });
            createSeconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            active = ResidentMegabytes();
            closing = Stopwatch.GetTimestamp();
        }

        double closeMs = Stopwatch.GetElapsedTime(closing).TotalMilliseconds;
        double diskMb = Math.Round(new DirectoryInfo(directory).EnumerateFiles("*", SearchOption.AllDirectories).Sum(f => f.Length) / (double)(1 << 20), 1);
        double openMs = await Median.OfAsync(runs, () => OpenStoreAsync(directory, cancellation));
        await using BenchHost again = await BenchHost.OpenAsync(model, threads, directory, cancellation);
        double[] pages = [.. (await ListAsync(again, ids, cancellation)).Order()];
        var random = new Random(Seed);
        double firstTokenMs = await Median.OfAsync(runs, () => FirstTokenAsync(again, ids, random.Next(conversations), cancellation));
        return new(conversations, conversations / createSeconds, active, closeMs, diskMb, openMs, pages[pages.Length / 2], pages[pages.Length * 99 / 100], firstTokenMs, ResidentMegabytes());
    }

    static ChatMessage Input(int i) => new("user", $"This is conversation {i}. Remember its number.");

    /// <summary>Garbage does not count.</summary>
    static double ResidentMegabytes()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        return ProcessMemory.ResidentMegabytes;
    }

    static async Task<double> OpenStoreAsync(string directory, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        await using SqliteConversationStore store = await SqliteConversationStore.OpenAsync(new() { Directory = directory }, cancellation);
        await store.ListLiveAsync(cancellation);
        return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
    }

    /// <summary>Milliseconds of each page.</summary>
    static async Task<List<double>> ListAsync(BenchHost host, string[] created, CancellationToken cancellation)
    {
        var times = new List<double>();
        var found = new List<string>();
        for (string? after = null; found.Count == 0 || after is not null;)
        {
            long start = Stopwatch.GetTimestamp();
            Page<ConversationInfo> page = await host.Host.ListConversationsAsync(BenchHost.Tenant, after, PageMax, descending: false, cancellation);
            times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
            found.AddRange(page.Items.Select(c => c.Id));
            after = page.After;
        }

        CheckFailedException.Require(found.SequenceEqual(created.Order(StringComparer.Ordinal)), $"{created.Length} conversations were created, and the listing has {found.Count}, or others");
        return times;
    }

    static async Task<double> FirstTokenAsync(BenchHost host, string[] ids, int i, CancellationToken cancellation)
    {
        (double firstTokenMs, _) = await host.AskAsync(ids[i], new("user", "Which number has it?"), ReplyTokens, cancellation);
        EventPage first = await host.Host.ReadEventsAsync(BenchHost.Tenant, ids[i], 0, 1, TimeSpan.Zero, cancellation);
        CheckFailedException.Require(first.Events is [InputAppended { Messages: [var message] }] && message == Input(i), $"conversation {i} does not begin with its own input");
        return firstTokenMs;
    }
}
