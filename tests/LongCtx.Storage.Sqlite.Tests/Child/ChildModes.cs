using System.Globalization;

namespace LongCtx.Storage.Sqlite.Tests.Child;

/// <summary>What this program does when a test starts it as a process of its own. Failures go to standard error, with exit code 1.</summary>
static class ChildModes
{
    public static async Task<int> RunAsync(string mode, string directory, string[] rest)
    {
        try
        {
            switch (mode)
            {
                case "open":
                    await using (await OpenAsync(directory)) Console.WriteLine("opened");
                    break;
                case "hold":
                    await using (await OpenAsync(directory))
                    {
                        Console.WriteLine("opened");
                        await Console.In.ReadToEndAsync();
                    }
                    break;
                case "append":
                    await AppendForEverAsync(directory, Enum.Parse<Durability>(rest[0]), int.Parse(rest[1], CultureInfo.InvariantCulture), int.Parse(rest[2], CultureInfo.InvariantCulture));
                    break;
                case "put":
                    await PutForEverAsync(directory, Enum.Parse<Durability>(rest[0]));
                    break;
                case "fill":
                    await FullDisk.RunAsync(directory);
                    break;
                default:
                    throw new ArgumentOutOfRangeException(nameof(mode), mode, "no such mode");
            }
            return 0;
        }
        catch (Exception e)
        {
            await Console.Error.WriteLineAsync(e is StoreException refusal ? refusal.Message : e.ToString());
            return 1;
        }
    }

    static ValueTask<SqliteConversationStore> OpenAsync(string directory) => SqliteConversationStore.OpenAsync(new() { Directory = directory });

    /// <summary>Says of each append that it is acknowledged, until somebody kills it.</summary>
    static async Task AppendForEverAsync(string directory, Durability level, int writers, int seed)
    {
        await using var store = await SqliteConversationStore.OpenAsync(new() { Directory = directory, Durability = level });
        await Task.WhenAll(Enumerable.Range(0, writers).Select(number => Task.Run(async () =>
        {
            var journal = new ProbeJournal(number);
            var random = new Random(seed + number);
            var head = await journal.AcquireAsync(store);
            for (long seq = head.Seq; ;)
            {
                var result = await store.AppendAsync(journal.Key, journal.Batch(head.Epoch, seq, random.Next(1, 5)));
                if (result.Status != AppendStatus.Appended) throw new InvalidOperationException($"{journal.Key}: {result}");
                seq = result.Seq;
                Console.Out.WriteLine($"{number} {seq};"); // one write to the pipe, which outlives this process
            }
        })));
    }

    /// <summary>Says of each version of a blob that it is stored, until somebody kills it.</summary>
    static async Task PutForEverAsync(string directory, Durability level)
    {
        await using var store = await SqliteConversationStore.OpenAsync(new() { Directory = directory, Durability = level });
        var journal = new ProbeJournal(0);
        var head = await journal.AcquireAsync(store);
        for (int version = await ProbeBlob.VersionAsync(store, journal.Key) + 1; ; version++)
        {
            var status = await store.PutBlobAsync(journal.Key, head.Epoch, ProbeBlob.Name, new(ProbeBlob.Content(version)));
            if (status != AppendStatus.Appended) throw new InvalidOperationException($"{journal.Key}: {status}");
            Console.Out.WriteLine($"{version};");
        }
    }
}
