namespace LongCtx.Conversations.Storage.Tests;

// Epochs: after another owner has acquired the conversation, the older one never gets a write in.
partial class ConversationStoreConformance
{
    [Fact]
    public async Task Acquire_RaisesTheEpochAndGivesTheHead()
    {
        StoredConversation second;
        await using (var store = await OpenAsync())
        {
            Assert.True(await store.CreateAsync(Key, Seed, Stop));
            var created = await FindAsync(store);
            var first = Assert.IsType<StoredConversation>(await store.AcquireAsync(Key, "one", Stop));
            Assert.True(first.Epoch > created.Epoch);
            await AppendAsync(store, Batch(first.Epoch, 0, 3));
            second = Assert.IsType<StoredConversation>(await store.AcquireAsync(Key, "two", Stop));
            Assert.True(second.Epoch > first.Epoch);
            Assert.Equal(Text(second), Text(await FindAsync(store)));
            Assert.Equal((3, "state after 3"), (second.Seq, second.State));
        }
        await using var reopened = await OpenAsync();
        var third = Assert.IsType<StoredConversation>(await reopened.AcquireAsync(Key, "two", Stop));
        Assert.True(third.Epoch > second.Epoch);
        Assert.Equal(AppendStatus.Fenced, (await reopened.AppendAsync(Key, Batch(second.Epoch, 3), Stop)).Status);
        await AppendAsync(reopened, Batch(third.Epoch, 3));
    }

    [Fact]
    public async Task Acquire_ManyAtOnce_EveryEpochIsAnotherAndTheHighestOwns()
    {
        await using var store = await OpenAsync();
        await StartAsync(store);
        var heads = await Task.WhenAll(Enumerable.Range(0, 16).Select(i => Task.Run(() => store.AcquireAsync(Key, $"owner {i}", Stop).AsTask())));
        long[] epochs = [.. heads.Select(h => h!.Epoch).Order()];
        Assert.Equal(16, epochs.Distinct().Count());
        foreach (long epoch in epochs[..^1]) Assert.Equal(new(AppendStatus.Fenced, 0), await store.AppendAsync(Key, Batch(epoch, 0), Stop));
        await AppendAsync(store, Batch(epochs[^1], 0));
    }

    [Fact]
    public async Task Append_OtherEpoch_IsFencedAndNothingOfItIsStored()
    {
        await using var store = await OpenAsync();
        var old = await StartAsync(store);
        var lost = Batch(old.Epoch, 0, 2);
        await AppendAsync(store, lost);
        var current = Assert.IsType<StoredConversation>(await store.AcquireAsync(Key, "two", Stop));
        string[] before = await ContentAsync(store);
        foreach (long epoch in new[] { old.Epoch, current.Epoch + 1, 0, -1, long.MaxValue })
        {
            foreach (long expected in new long[] { 0, 2, 5 })
            {
                var batch = Batch(epoch, expected) with { Turns = [Turn(1)], Segments = [Segment(1)], IsLive = true };
                Assert.Equal(AppendStatus.Fenced, (await store.AppendAsync(Key, batch, Stop)).Status);
            }
            Assert.Equal(AppendStatus.Fenced, await store.TrimAsync(Key, epoch, 1, Stop));
        }
        // Not even the batch that did get in: its owner has to leave.
        Assert.Equal(AppendStatus.Fenced, (await store.AppendAsync(Key, lost, Stop)).Status);
        Assert.Equal(before, await ContentAsync(store));
        Assert.Empty(await store.ListLiveAsync(Stop));
    }

    [Fact]
    public async Task Append_WhileOthersAcquire_NothingOfAnOlderOwnerComesAfterANewerOnesHead()
    {
        await using var store = await OpenAsync();
        Assert.True(await store.CreateAsync(Key, Seed, Stop));
        // Each owner appends until it is fenced; the next acquires meanwhile and must find everything that the one before ever got in.
        List<Task<long>> owners = [];
        List<long> heads = [];
        for (int i = 0; i < 12; i++)
        {
            var head = Assert.IsType<StoredConversation>(await store.AcquireAsync(Key, $"owner {i}", Stop));
            heads.Add(head.Seq);
            TaskCompletionSource begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
            owners.Add(Task.Run(() => AppendUntilFencedAsync(store, head, begun)));
            await Task.WhenAny(begun.Task, owners[^1]);
        }
        await store.AcquireAsync(Key, "last", Stop);
        heads.Add((await FindAsync(store)).Seq);
        long[] last = await Task.WhenAll(owners);
        // An owner whose last reply was lost is fenced by an event of its own.
        foreach (var (found, known) in heads.Skip(1).Zip(last)) Assert.InRange(found, known, known + (LosesReplies ? 1 : 0));
        Assert.Equal(Enumerable.Range(1, (int)heads[^1]).Select(i => (long)i), (await store.ReadAsync(Key, 0, int.MaxValue, Stop)).Select(e => e.Seq));
    }

    /// <summary>Sequence number of the last event that got in.</summary>
    static async Task<long> AppendUntilFencedAsync(IConversationStore store, StoredConversation head, TaskCompletionSource begun)
    {
        for (long seq = head.Seq; seq < head.Seq + 100_000; seq++)
        {
            var result = await store.AppendAsync(Key, Batch(head.Epoch, seq), Stop);
            if (seq >= head.Seq + 2) begun.TrySetResult();
            if (result.Status == AppendStatus.Fenced)
            {
                begun.TrySetResult();
                return seq;
            }
            Assert.Equal(new(AppendStatus.Appended, seq + 1), result);
        }
        throw new InvalidOperationException("It was never fenced.");
    }
}
