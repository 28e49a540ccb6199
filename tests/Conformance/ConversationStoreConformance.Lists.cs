namespace LongCtx.Conversations.Storage.Tests;

// Listings, trimming, deletion.
partial class ConversationStoreConformance
{
    [Fact]
    public async Task List_PagesInBothDirections_GiveEveryConversationOfTheTenantOnce()
    {
        int[] numbers = [.. Enumerable.Range(1, 25)];
        await using (var store = await OpenAsync())
        {
            int[] shuffled = [.. numbers];
            new Random(7).Shuffle(shuffled);
            foreach (int number in shuffled)
            {
                Assert.True(await store.CreateAsync(Id(number, "a"), Seed with { Created = number }, Stop));
                Assert.True(await store.CreateAsync(Id(number + 1000, "b"), Seed, Stop));
            }
            foreach (int number in new[] { 1, 13, 25 }) Assert.True(await store.DeleteAsync(Id(number, "a"), Stop));
        }
        await using var reopened = await OpenAsync();
        int[] left = [.. numbers.Except([1, 13, 25])];
        foreach (bool descending in new[] { false, true })
        {
            foreach (int max in new[] { 1, 4, 22, 100 })
            {
                List<StoredConversation> all = [];
                while (await reopened.ListAsync("a", all.LastOrDefault()?.Key.Id, max, descending, Stop) is { Count: > 0 } page)
                {
                    Assert.InRange(page.Count, 1, max);
                    all.AddRange(page);
                }
                Assert.Equal(descending ? left.Reverse() : left, all.Select(c => (int)c.Seed.Created));
                Assert.Equal(Text(await FindAsync(reopened, Id(2, "a"))), Text(all.Single(c => c.Seed.Created == 2)));
            }
        }
        // A page may begin at a conversation that is not there, or not any more.
        Assert.Equal([14, 15], (await reopened.ListAsync("a", Id(13).Id, 2, false, Stop)).Select(c => (int)c.Seed.Created));
        Assert.Equal([12, 11], (await reopened.ListAsync("a", Id(13).Id, 2, true, Stop)).Select(c => (int)c.Seed.Created));
        Assert.Equal((22, 25, 0), (await reopened.CountAsync("a", Stop), await reopened.CountAsync("b", Stop), await reopened.CountAsync("c", Stop)));
    }

    [Fact]
    public async Task ListLive_FollowsTheLastBatchOfEveryTenantsConversations()
    {
        ConversationKey[] keys = [Id(1, "a"), Id(2, "a"), Id(3, "b"), Id(4, "b")];
        await using (var store = await OpenAsync())
        {
            var heads = new List<StoredConversation>();
            foreach (var key in keys) heads.Add(await StartAsync(store, key));
            Assert.Empty(await store.ListLiveAsync(Stop));
            for (int i = 0; i < 4; i++) await AppendAsync(store, Batch(heads[i].Epoch, 0) with { IsLive = i > 0 }, keys[i]);
            Assert.Equal(keys[1..].ToHashSet(), (await store.ListLiveAsync(Stop)).ToHashSet());
            await AppendAsync(store, Batch(heads[1].Epoch, 1) with { IsLive = true }, keys[1]);
            await AppendAsync(store, Batch(heads[2].Epoch, 1), keys[2]);
            Assert.True(await store.DeleteAsync(keys[3], Stop));
        }
        await using var reopened = await OpenAsync();
        Assert.Equal([keys[1]], await reopened.ListLiveAsync(Stop));
    }

    [Fact]
    public async Task Trim_ForgetsEventsOnly()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        Assert.Equal(AppendStatus.Appended, await store.TrimAsync(Key, head.Epoch, 10, Stop)); // nothing there yet
        Assert.Equal((0, 1), ((await FindAsync(store)).Seq, (await FindAsync(store)).FirstSeq));
        var last = Batch(head.Epoch, 5, 5);
        await AppendAsync(store, Batch(head.Epoch, 0, 5) with { Turns = [Turn(1)], Segments = [Segment(1)] });
        await AppendAsync(store, last);

        (long UpTo, long First)[] steps = [(0, 1), (3, 4), (2, 4), (3, 4), (7, 8), (10, 10), (1000, 10)];
        foreach (var (upTo, first) in steps)
        {
            Assert.Equal(AppendStatus.Appended, await store.TrimAsync(Key, head.Epoch, upTo, Stop));
            Assert.Equal((first, 10, "state after 10"), ((await FindAsync(store)).FirstSeq, (await FindAsync(store)).Seq, (await FindAsync(store)).State));
            Assert.Equal(Enumerable.Range((int)first, 11 - (int)first).Select(i => Text(Event(i))), (await store.ReadAsync(Key, 0, 100, Stop)).Select(Text));
        }
        Assert.Equal(Turn(1), Assert.Single(await store.ReadTurnsAsync(Key, 0, 10, cancellation: Stop)));
        Assert.Equal(Text(Segment(1)), Text(Assert.Single(await store.ReadSegmentsAsync(Key, 0, 10, Stop))));
        await AppendAsync(store, last);
        await AppendAsync(store, Batch(head.Epoch, 10, 2));
        Assert.Equal([10, 11, 12], (await store.ReadAsync(Key, 0, 10, Stop)).Select(e => e.Seq));
    }

    [Fact]
    public async Task Delete_LeavesATombstoneAndNoContent()
    {
        StoredConversation owner;
        await using (var store = await OpenAsync())
        {
            owner = await StartAsync(store);
            await AppendAsync(store, Batch(owner.Epoch, 0, 3) with { Turns = [Turn(1)], Segments = [Segment(1)], IsLive = true });
            Assert.True(await store.DeleteAsync(Key, Stop));
            await AssertDeletedAsync(store, owner.Epoch);
        }
        await using var reopened = await OpenAsync();
        await AssertDeletedAsync(reopened, owner.Epoch);
    }

    static async Task AssertDeletedAsync(IConversationStore store, long ownersEpoch)
    {
        var tombstone = await FindAsync(store);
        Assert.NotNull(tombstone.Deleted);
        Assert.True(tombstone.Epoch > ownersEpoch);
        Assert.Equal((Key, "", 0), (tombstone.Key, tombstone.State, tombstone.Seed.Metadata.Count));
        string[] content = await ContentAsync(store);
        Assert.Single(content);
        Assert.Null(await store.FindTurnAsync(Key, "turn-1", Stop));
        Assert.Empty(await store.ListAsync(Key.Tenant, null, 10, false, Stop));
        Assert.Equal(0, await store.CountAsync(Key.Tenant, Stop));
        Assert.Empty(await store.ListLiveAsync(Stop));

        foreach (long epoch in new[] { ownersEpoch, tombstone.Epoch })
        {
            Assert.Equal(AppendStatus.Gone, (await store.AppendAsync(Key, Batch(epoch, tombstone.Seq), Stop)).Status);
            Assert.Equal(AppendStatus.Gone, await store.TrimAsync(Key, epoch, 1, Stop));
        }
        Assert.Equal(Text(tombstone), Text(await store.AcquireAsync(Key, "test", Stop)));
        Assert.False(await store.SetMetadataAsync(Key, Seed.Metadata, Stop));
        Assert.False(await store.DeleteAsync(Key, Stop));
        Assert.False(await store.CreateAsync(Key, Seed, Stop));
        Assert.Equal(content, await ContentAsync(store));
    }

    [Fact]
    public async Task Delete_WhileItsOwnerAppends_LeavesNothing()
    {
        await using var store = await OpenAsync();
        for (int i = 1; i <= 10; i++)
        {
            var key = Id(i);
            var head = await StartAsync(store, key);
            await AppendAsync(store, Batch(head.Epoch, 0), key);
            var appends = Task.Run(async () =>
            {
                var status = AppendStatus.Appended;
                for (long seq = 1; status == AppendStatus.Appended && seq < 100_000; seq++)
                    status = (await store.AppendAsync(key, Batch(head.Epoch, seq) with { Turns = [Turn(1)], IsLive = true }, Stop)).Status;
                return status;
            });
            Assert.True(await store.DeleteAsync(key, Stop));
            Assert.Equal(AppendStatus.Gone, await appends);
            Assert.Single(await ContentAsync(store, key));
        }
        Assert.Empty(await store.ListLiveAsync(Stop));
    }
}
