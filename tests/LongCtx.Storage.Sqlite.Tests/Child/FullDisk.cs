namespace LongCtx.Storage.Sqlite.Tests.Child;

/// <summary>Runs in a process that sees a file system of 4 MiB at the given directory.</summary>
static class FullDisk
{
    const int Padding = 20_000;

    public static async Task RunAsync(string disk)
    {
        string ballast = Path.Combine(disk, "ballast"), data = Path.Combine(disk, "data");
        await File.WriteAllBytesAsync(ballast, new byte[1 << 20]);
        ProbeJournal journal = new(1), other = new(2);
        long seq = 0;
        await using (var store = await SqliteConversationStore.OpenAsync(new() { Directory = data, Durability = Durability.Strict }))
        {
            Assert.Equal(Durability.Relaxed, store.Description.Holds);
            Assert.Contains("in memory", Assert.Single(store.Description.Warnings), StringComparison.Ordinal);

            var head = await journal.AcquireAsync(store);
            await other.AcquireAsync(store);
            AppendBatch? refused = null;
            while (refused is null)
            {
                var batch = journal.Batch(head.Epoch, seq, 2, Padding);
                try
                {
                    Assert.Equal(AppendStatus.Appended, (await store.AppendAsync(journal.Key, batch)).Status);
                    seq += 2;
                }
                catch (StoreException e)
                {
                    AssertFull(e, data);
                    refused = batch;
                }
            }
            Assert.True(seq > 20, $"only {seq} events found room");
            for (int i = 0; i < 3; i++) AssertFull(await Assert.ThrowsAsync<StoreException>(() => store.AppendAsync(journal.Key, refused).AsTask()), data);
            await journal.VerifyAsync(store, seq, Padding);

            File.Delete(ballast);
            for (int i = 0; i < 5; i++, seq += 2)
                Assert.Equal(new(AppendStatus.Appended, seq + 2), await store.AppendAsync(journal.Key, i == 0 ? refused : journal.Batch(head.Epoch, seq, 2, Padding)));
            await journal.VerifyAsync(store, seq, Padding);
        }
        await using var reopened = await SqliteConversationStore.OpenAsync(new() { Directory = data });
        await journal.VerifyAsync(reopened, seq, Padding);
        Console.WriteLine($"{seq} events");
    }

    static void AssertFull(StoreException e, string data)
    {
        Assert.Contains("full", e.Message, StringComparison.Ordinal);
        Assert.Contains(Path.Combine(data, "longctx.db"), e.Message, StringComparison.Ordinal);
        Assert.False(e.IsTransient);
    }
}
