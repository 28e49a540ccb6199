namespace LongCtx.Conversations.Storage.Tests;

// A write that threw may or may not have happened; sending it again is safe.
partial class ConversationStoreConformance
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnyCall_FailsAndIsSentAgain_TheHistoryIsTheSame(bool losesReply)
    {
        await using var store = await OpenAsync();
        var faultless = new FaultyStore(store);
        await RunScriptAsync(faultless, Id(0));
        string[] expected = await HistoryAsync(store, Id(0));
        Assert.True(expected.Length > 10);

        for (int call = 1; call <= faultless.Calls; call++)
        {
            // Failing twice in a row, it also fails when it is sent again.
            var faulty = new FaultyStore(store, new(call, losesReply, IsTransient: true, Count: 1 + call % 2));
            await RunScriptAsync(faulty, Id(call));
            Assert.Equal(1 + call % 2, faulty.Failures);
            Assert.Equal(expected, await HistoryAsync(store, Id(call)));
        }
    }

    static async Task RunScriptAsync(IConversationStore store, ConversationKey key)
    {
        await SendAsync(() => store.CreateAsync(key, Seed, Stop));
        var head = await SendAsync(() => store.AcquireAsync(key, "test", Stop));
        AppendBatch[] batches =
        [
            Batch(head!.Epoch, 0, 2) with { Turns = [Turn(1, TurnStatus.InProgress)], IsLive = true },
            Batch(head.Epoch, 2, 5) with { Turns = [Turn(1)], Segments = [Segment(1), Segment(2)], IsLive = true },
            Batch(head.Epoch, 7) with { Turns = [Turn(2, TurnStatus.Cancelled)] },
        ];
        foreach (var batch in batches)
            Assert.Equal(new(AppendStatus.Appended, batch.Events[^1].Seq), await SendAsync(() => store.AppendAsync(key, batch, Stop)));
        Assert.True(await SendAsync(() => store.SetMetadataAsync(key, new Dictionary<string, string> { ["title"] = "Land" }, Stop)));
        Assert.Equal(AppendStatus.Appended, await SendAsync(() => store.TrimAsync(key, head.Epoch, 3, Stop)));
        foreach (int length in new[] { 3, BlobPieces.Size + 1 })
            Assert.Equal(AppendStatus.Appended, await SendAsync(() => store.PutBlobAsync(key, head.Epoch, "state", new(Bytes(length)), Stop)));
        Assert.Equal(AppendStatus.Appended, await SendAsync(() => store.PutBlobAsync(key, head.Epoch, "old", new(Bytes(1)), Stop)));
        Assert.Equal(AppendStatus.Appended, await SendAsync(() => store.DeleteBlobAsync(key, head.Epoch, "old", Stop)));
        Assert.Equal(5, (await SendAsync(() => store.ReadAsync(key, 0, 10, Stop))).Count);
    }

    static async Task<T> SendAsync<T>(Func<ValueTask<T>> call)
    {
        while (true)
        {
            try
            {
                return await call();
            }
            catch (StoreException e) when (e.IsTransient) { } // again
        }
    }

    /// <summary>All content; which epoch and id it has does not matter here.</summary>
    static async Task<string[]> HistoryAsync(IConversationStore store, ConversationKey key)
    {
        var head = await FindAsync(store, key) with { Key = Key, Epoch = 0 };
        return [Text(head), .. (await ContentAsync(store, key))[1..], .. await BlobsAsync(store, key), $"live: {(await store.ListLiveAsync(Stop)).Contains(key)}"];
    }
}
