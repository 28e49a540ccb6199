namespace LongCtx.Conversations.Storage.Tests;

// Appending and reading what was appended.
partial class ConversationStoreConformance
{
    [Fact]
    public async Task Append_WholeBatch_IsThereAfterReopening()
    {
        StoredEvent[] events = [new(1, "turn_accepted", new[] { int.MinValue, -1, 0, 1, int.MaxValue }, "{}"), new(2, "delta", ReadOnlyMemory<int>.Empty, ""), Event(3)];
        string[] before;
        await using (var store = await OpenAsync())
        {
            var head = await StartAsync(store);
            var batch = new AppendBatch(head.Epoch, 0, Guid.NewGuid(), events, "the state")
            {
                Turns = [Turn(1), Turn(2, TurnStatus.InProgress) with { EndSeq = 0 }],
                Segments = [Segment(1), Segment(2, 0)],
                IsLive = true,
            };
            await AppendAsync(store, batch);
            before = await ContentAsync(store);
            Assert.Equal(Text(head with { Seq = 3, FirstSeq = 1, State = "the state" }), before[0]);
            Assert.Equal([.. events.Select(Text), .. batch.Turns.Select(t => t.ToString()), .. batch.Segments.Select(Text)], before[1..]);
        }
        await using var reopened = await OpenAsync();
        Assert.Equal(before, await ContentAsync(reopened));
        Assert.Equal([Key], await reopened.ListLiveAsync(Stop));
    }

    [Fact]
    public async Task Append_AnotherExpectedSequence_IsAConflictAndNothingOfItIsStored()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        await AppendAsync(store, Batch(head.Epoch, 0, 2) with { Turns = [Turn(1)] });
        string[] before = await ContentAsync(store);
        foreach (long expected in new long[] { 0, 1, 3, 100 })
        {
            var batch = Batch(head.Epoch, expected, 2) with { Turns = [Turn(1, TurnStatus.Failed), Turn(2)], Segments = [Segment(1)], IsLive = true };
            Assert.Equal(new(AppendStatus.Conflict, 2), await store.AppendAsync(Key, batch, Stop));
        }
        Assert.Equal(before, await ContentAsync(store));
        Assert.Empty(await store.ListLiveAsync(Stop));
    }

    [Fact]
    public async Task Append_SameBatchAgain_IsAppendedOnce()
    {
        AppendBatch first, second;
        string[] before;
        await using (var store = await OpenAsync())
        {
            var head = await StartAsync(store);
            first = Batch(head.Epoch, 0, 2) with { Turns = [Turn(1)], Segments = [Segment(1)] };
            second = Batch(head.Epoch, 2, 3) with { Turns = [Turn(1), Turn(2)], IsLive = true };
            await AppendAsync(store, first);
            await AppendAsync(store, first);
            await AppendAsync(store, second);
            before = await ContentAsync(store);
            await AppendAsync(store, second);
            Assert.Equal(before, await ContentAsync(store));
        }
        await using var reopened = await OpenAsync();
        await AppendAsync(reopened, second);
        // Only the head's last batch is known again.
        Assert.Equal(new(AppendStatus.Conflict, 5), await reopened.AppendAsync(Key, first, Stop));
        Assert.Equal(before, await ContentAsync(reopened));
    }

    [Fact]
    public async Task Append_SameBatchAtOnce_IsAppendedOnce()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        var batch = Batch(head.Epoch, 0, 2);
        var results = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() => store.AppendAsync(Key, batch, Stop).AsTask())));
        Assert.All(results, r => Assert.Equal(new(AppendStatus.Appended, 2), r));
        Assert.Equal(batch.Events.Select(Text), (await store.ReadAsync(Key, 0, 10, Stop)).Select(Text));
    }

    [Fact]
    public async Task Append_DifferentBatchesForOneHead_OneIsAppended()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        for (long expected = 0; expected < 20; expected++)
        {
            var batches = Enumerable.Range(1, 4).Select(i => Batch(head.Epoch, expected) with { State = $"{expected}.{i}", Turns = [Turn(i)] }).ToArray();
            var results = await Task.WhenAll(batches.Select(b => Task.Run(() => store.AppendAsync(Key, b, Stop).AsTask())));
            var winner = Assert.Single(batches.Zip(results), r => r.Second.Status == AppendStatus.Appended).First;
            Assert.All(results, r => Assert.Equal(expected + 1, r.Seq));
            Assert.Equal(3, results.Count(r => r.Status == AppendStatus.Conflict));
            Assert.Equal(winner.State, (await FindAsync(store)).State);
        }
    }

    [Fact]
    public async Task Append_ManyConversationsAtOnce_EachHasItsOwnJournal()
    {
        await using var store = await OpenAsync();
        ConversationKey[] keys = [.. Enumerable.Range(0, 40).Select(i => Id(i, $"tenant-{i % 3}"))];
        await Task.WhenAll(keys.Select((key, k) => Task.Run(async () =>
        {
            var head = await StartAsync(store, key);
            long seq = 0;
            for (int i = 0; i < 20; seq += 1 + i % 3, i++)
            {
                // One caller among them that is always wrong disturbs nobody.
                if (k % 5 == 0) Assert.Equal(AppendStatus.Conflict, (await store.AppendAsync(key, Batch(head.Epoch, seq + 1), Stop)).Status);
                await AppendAsync(store, Batch(head.Epoch, seq, 1 + i % 3) with { State = $"{k} {i}" }, key);
                if (i == 10) Assert.Equal(seq + 1 + i % 3, (await store.ReadAsync(key, 0, 1000, Stop)).Count);
            }
        })));
        for (int k = 0; k < keys.Length; k++)
        {
            Assert.Equal($"{k} 19", (await FindAsync(store, keys[k])).State);
            Assert.Equal(Enumerable.Range(1, 39).Select(i => Text(Event(i))), (await store.ReadAsync(keys[k], 0, 1000, Stop)).Select(Text));
        }
    }

    [Fact]
    public async Task Append_BadlyNumberedBatch_IsRefusedAndNothingOfItIsStored()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        await AppendAsync(store, Batch(head.Epoch, 0));
        string[] before = await ContentAsync(store);
        StoredEvent[][] cases = [[], [Event(1)], [Event(3)], [Event(2), Event(2)], [Event(2), Event(4)], [Event(2), Event(1)]];
        foreach (var events in cases)
            await Assert.ThrowsAnyAsync<ArgumentException>(() => store.AppendAsync(Key, Batch(head.Epoch, 1) with { Events = events }, Stop).AsTask());
        Assert.Equal(before, await ContentAsync(store));
    }

    [Fact]
    public async Task Append_BigBatch_IsStoredWhole()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        var random = new Random(5);
        int[] Tokens(int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(int.MinValue, int.MaxValue))];
        var batch = new AppendBatch(head.Epoch, 0, Guid.NewGuid(),
            [new(1, "input_appended", Tokens(10_000), new string('ü', 1_000_000)), .. Enumerable.Range(2, 1000).Select(i => Event(i))], new string('s', 100_000))
        {
            Turns = [.. Enumerable.Range(1, 100).Select(i => Turn(i))],
            Segments = [.. Enumerable.Range(1, 50).Select(i => new StoredSegment(i, (i - 1) * 4096L, Tokens(4096), $"hash-{i}"))],
        };
        await AppendAsync(store, batch);
        Assert.Equal(batch.State, (await FindAsync(store)).State);
        Assert.Equal(batch.Events.Select(Text), (await store.ReadAsync(Key, 0, int.MaxValue, Stop)).Select(Text));
        Assert.Equal(batch.Turns, await store.ReadTurnsAsync(Key, 0, int.MaxValue, cancellation: Stop));
        Assert.Equal(batch.Segments.Select(Text), (await store.ReadSegmentsAsync(Key, 0, int.MaxValue, Stop)).Select(Text));
    }

    [Fact]
    public async Task Read_Pages_GiveEveryEventOnce()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        for (int i = 0; i < 10; i++) await AppendAsync(store, Batch(head.Epoch, i * 5, 5));
        foreach (int max in new[] { 1, 7, 50, 1000 })
        {
            List<StoredEvent> all = [];
            while (await store.ReadAsync(Key, all.Count, max, Stop) is { Count: > 0 } page)
            {
                Assert.InRange(page.Count, 1, max);
                all.AddRange(page);
            }
            Assert.Equal(Enumerable.Range(1, 50).Select(i => Text(Event(i))), all.Select(Text));
        }
        Assert.Empty(await store.ReadAsync(Key, 50, 10, Stop));
        Assert.Empty(await store.ReadAsync(Key, long.MaxValue, 10, Stop));
        Assert.Equal(13, Assert.Single(await store.ReadAsync(Key, 12, 1, Stop)).Seq);
    }

    [Fact]
    public async Task ReadTurns_AscendingAndDescending()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        for (int i = 1; i <= 12; i++) await AppendAsync(store, Batch(head.Epoch, i - 1) with { Turns = [Turn(i)] });

        async Task AssertPageAsync(int[] expected, int after, int max, bool descending) =>
            Assert.Equal(expected, (await store.ReadTurnsAsync(Key, after, max, descending, Stop)).Select(t => t.Turn));
        await AssertPageAsync([1, 2, 3, 4, 5], 0, 5, false);
        await AssertPageAsync([6, 7, 8, 9, 10], 5, 5, false);
        await AssertPageAsync([11, 12], 10, 5, false);
        await AssertPageAsync([], 12, 5, false);
        await AssertPageAsync([12, 11, 10, 9, 8], 0, 5, true);
        await AssertPageAsync([2, 1], 3, 5, true);
        await AssertPageAsync([], 1, 5, true);
        Assert.Equal(Enumerable.Range(1, 12).Select(i => Turn(i)), await store.ReadTurnsAsync(Key, 0, 100, cancellation: Stop));
    }

    [Fact]
    public async Task Append_TurnAgain_IsWrittenOverTheStoredOne()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        var begun = Turn(2, TurnStatus.InProgress) with { EndSeq = 0 };
        await AppendAsync(store, Batch(head.Epoch, 0) with { Turns = [Turn(1), begun] });
        Assert.Equal(begun, await store.FindTurnAsync(Key, "turn-2", Stop));
        foreach (var status in Enum.GetValues<TurnStatus>())
        {
            var ended = begun with { Status = status, EndSeq = long.MaxValue };
            await AppendAsync(store, Batch(head.Epoch, (await FindAsync(store)).Seq) with { Turns = [ended] });
            Assert.Equal(ended, await store.FindTurnAsync(Key, "turn-2", Stop));
            Assert.Equal([Turn(1), ended], await store.ReadTurnsAsync(Key, 0, 10, cancellation: Stop));
        }
        Assert.Null(await store.FindTurnAsync(Key, "turn-3", Stop));
        Assert.Null(await store.FindTurnAsync(Key, "TURN-2", Stop));
        Assert.Null(await store.FindTurnAsync(Id(2), "turn-2", Stop));
    }

    [Fact]
    public async Task ReadSegments_Pages_GiveEachOnce()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        for (int i = 1; i <= 12; i += 2) await AppendAsync(store, Batch(head.Epoch, i / 2) with { Segments = [Segment(i), Segment(i + 1)] });

        async Task<string[]> PageAsync(int after, int max) => [.. (await store.ReadSegmentsAsync(Key, after, max, Stop)).Select(Text)];
        Assert.Equal(Enumerable.Range(1, 5).Select(i => Text(Segment(i))), await PageAsync(0, 5));
        Assert.Equal(Enumerable.Range(6, 5).Select(i => Text(Segment(i))), await PageAsync(5, 5));
        Assert.Equal(Enumerable.Range(11, 2).Select(i => Text(Segment(i))), await PageAsync(10, 5));
        Assert.Empty(await PageAsync(12, 5));
    }
}
