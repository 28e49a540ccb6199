namespace LongCtx.Storage.Sqlite.Tests.Child;

/// <summary>A conversation whose every record follows from its number, so that whoever finds it later can tell what must be there.</summary>
sealed class ProbeJournal(int number)
{
    public ConversationKey Key { get; } = new("probe", $"conv_{number}");

    public async Task<StoredConversation> AcquireAsync(IConversationStore store)
    {
        await store.CreateAsync(Key, new("model", number, new Dictionary<string, string>()));
        return await store.AcquireAsync(Key, "probe") ?? throw new InvalidOperationException($"{Key} is not there.");
    }

    /// <summary>Events, a turn, a segment and a state that tell of each other.</summary>
    public AppendBatch Batch(long epoch, long seq, int events, int padding = 0)
    {
        long last = seq + events;
        return new(epoch, seq, Guid.NewGuid(), [.. Enumerable.Range(1, events).Select(i => new StoredEvent(seq + i, "delta", Tokens(seq + i), Body(seq + i) + new string('.', padding)))], $"{last}")
        {
            Turns = [new(1, "turn", "hash", TurnStatus.InProgress, 1, last)],
            Segments = [new((int)last, last, Tokens(last), $"{last}")],
            IsLive = last % 2 == 0,
        };
    }

    /// <summary>That everything up to <paramref name="acknowledged"/> is there, and that what is there is whole.</summary>
    public async Task VerifyAsync(IConversationStore store, long acknowledged, int padding = 0)
    {
        var head = await store.FindAsync(Key);
        if (head is null)
        {
            Assert.Equal(0, acknowledged);
            return;
        }
        Assert.True(head.Seq >= acknowledged, $"{Key}: {acknowledged} was acknowledged, {head.Seq} is the head");
        var events = await store.ReadAsync(Key, 0, int.MaxValue);
        Assert.Equal(head.Seq, events.Count);
        for (int i = 0; i < events.Count; i++)
        {
            Assert.Equal((i + 1L, Body(i + 1) + new string('.', padding)), (events[i].Seq, events[i].Body));
            Assert.Equal(Tokens(i + 1), events[i].Tokens.ToArray());
        }
        if (head.Seq == 0) return;
        Assert.Equal($"{head.Seq}", head.State);
        Assert.Equal(head.Seq, (await store.FindTurnAsync(Key, "turn"))?.EndSeq);
        Assert.Equal(head.Seq, (await store.ReadSegmentsAsync(Key, 0, int.MaxValue))[^1].First);
        Assert.Equal(head.Seq % 2 == 0, (await store.ListLiveAsync()).Contains(Key));
    }

    string Body(long seq) => $$"""{"conversation":{{number}},"seq":{{seq}}}""";

    int[] Tokens(long seq) => [number, (int)seq, ~(int)seq];
}
