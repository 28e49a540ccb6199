namespace LongCtx.Conversations.Storage.Tests;

/// <summary>
/// What every <see cref="IConversationStore"/> does, sentence by sentence of its documentation. The tests of each store link this source and
/// derive from it; xunit makes an instance, and with it an empty place to store, for each test.
/// </summary>
public abstract partial class ConversationStoreConformance
{
    /// <summary>Opens this test's store: empty at first, and the same one later, after the one opened before has been disposed of.</summary>
    protected abstract ValueTask<IConversationStore> OpenAsync();

    /// <summary>Whether the store sends a call again after a reply was lost.</summary>
    protected virtual bool LosesReplies => false;

    static CancellationToken Stop => TestContext.Current.CancellationToken;

    static readonly ConversationKey Key = Id(1);

    static readonly ConversationSeed Seed = new("small", 1_700_000_000_123, new Dictionary<string, string> { ["title"] = "Sea", ["empty"] = "" });

    static ConversationKey Id(int number, string tenant = "default") => new(tenant, $"conv_0123abcd{number:x32}");

    /// <summary>Creates and acquires a conversation.</summary>
    static async Task<StoredConversation> StartAsync(IConversationStore store, ConversationKey? key = null)
    {
        Assert.True(await store.CreateAsync(key ?? Key, Seed, Stop));
        var head = await store.AcquireAsync(key ?? Key, "test", Stop);
        return Assert.IsType<StoredConversation>(head);
    }

    static async Task<StoredConversation> FindAsync(IConversationStore store, ConversationKey? key = null) =>
        Assert.IsType<StoredConversation>(await store.FindAsync(key ?? Key, Stop));

    static StoredEvent Event(long seq, int tokens = 2) =>
        new(seq, "delta", Enumerable.Range(0, tokens).Select(i => (int)seq * 1000 + i).ToArray(), $$"""{"kind":"delta","seq":{{seq}}}""");

    static AppendBatch Batch(long epoch, long expected, int events = 1) =>
        new(epoch, expected, Guid.NewGuid(), [.. Enumerable.Range(1, events).Select(i => Event(expected + i))], $"state after {expected + events}");

    static TurnInfo Turn(int turn, TurnStatus status = TurnStatus.Completed) => new(turn, $"turn-{turn}", $"hash-{turn}", status, turn * 10, turn * 10 + 5);

    static StoredSegment Segment(int number, int tokens = 3) =>
        new(number, (number - 1) * tokens, Enumerable.Range(number * 100, tokens).ToArray(), $"hash-{number}");

    static async Task AppendAsync(IConversationStore store, AppendBatch batch, ConversationKey? key = null) =>
        Assert.Equal(new(AppendStatus.Appended, batch.ExpectedSeq + batch.Events.Count), await store.AppendAsync(key ?? Key, batch, Stop));

    /// <summary>Everything that can be read of a conversation, as lines.</summary>
    static async Task<string[]> ContentAsync(IConversationStore store, ConversationKey? key = null)
    {
        key ??= Key;
        return
        [
            Text(await store.FindAsync(key, Stop)),
            .. (await store.ReadAsync(key, 0, int.MaxValue, Stop)).Select(Text),
            .. (await store.ReadTurnsAsync(key, 0, int.MaxValue, cancellation: Stop)).Select(t => t.ToString()),
            .. (await store.ReadSegmentsAsync(key, 0, int.MaxValue, Stop)).Select(Text),
        ];
    }

    static string Text(StoredConversation? head) => head is null
        ? "none"
        : $"{head.Key} {head.Seed.Model} {head.Seed.Created} {head.Seed.ForkedFrom} {Text(head.Seed.Metadata)} epoch {head.Epoch}, {head.FirstSeq} to {head.Seq}, "
            + $"'{head.State}', deleted: {head.Deleted is not null}";

    static string Text(IReadOnlyDictionary<string, string> metadata) =>
        string.Join(',', metadata.OrderBy(m => m.Key, StringComparer.Ordinal).Select(m => $"{m.Key}={m.Value}"));

    static string Text(StoredEvent e) => $"{e.Seq} {e.Kind} {Text(e.Tokens)} {e.Body}";

    static string Text(StoredSegment s) => $"{s.Number} {s.First} {Text(s.Tokens)} {s.Hash}";

    static string Text(ReadOnlyMemory<int> tokens) => $"[{string.Join(' ', tokens.ToArray())}]";

    [Fact]
    public async Task Description_SaysWhatAndWhere()
    {
        await using var store = await OpenAsync();
        Assert.NotEmpty(store.Description.Name);
        Assert.DoesNotContain(store.Description.Warnings, string.IsNullOrWhiteSpace);
    }

    [Fact]
    public async Task AnyMember_NothingOfThatKey_SaysSo()
    {
        await using var store = await OpenAsync();
        await AssertNothingAsync(store, Key);
        Assert.Empty(await store.ListLiveAsync(Stop));
    }

    [Fact]
    public async Task AnyMember_ForeignTenant_SeesNothingAndChangesNothing()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        await AppendAsync(store, Batch(head.Epoch, 0, 3) with { Turns = [Turn(1)], Segments = [Segment(1)], IsLive = true });
        string[] before = await ContentAsync(store);
        await AssertNothingAsync(store, Key with { Tenant = "foreign" });
        Assert.Equal(before, await ContentAsync(store));
        Assert.Equal([Key], await store.ListLiveAsync(Stop));
    }

    static async Task AssertNothingAsync(IConversationStore store, ConversationKey key)
    {
        Assert.Null(await store.FindAsync(key, Stop));
        Assert.Null(await store.AcquireAsync(key, "test", Stop));
        for (long epoch = 0; epoch < 3; epoch++)
        {
            Assert.Equal(AppendStatus.Gone, (await store.AppendAsync(key, Batch(epoch, 0), Stop)).Status);
            Assert.Equal(AppendStatus.Gone, await store.TrimAsync(key, epoch, 1, Stop));
        }
        await AssertNoBlobsAsync(store, key);
        Assert.Empty(await store.ReadAsync(key, 0, 10, Stop));
        Assert.Null(await store.FindTurnAsync(key, "turn-1", Stop));
        Assert.Empty(await store.ReadTurnsAsync(key, 0, 10, cancellation: Stop));
        Assert.Empty(await store.ReadTurnsAsync(key, 0, 10, descending: true, Stop));
        Assert.Empty(await store.ReadSegmentsAsync(key, 0, 10, Stop));
        Assert.False(await store.SetMetadataAsync(key, Seed.Metadata, Stop));
        Assert.Empty(await store.ListAsync(key.Tenant, null, 10, false, Stop));
        Assert.Empty(await store.ListAsync(key.Tenant, null, 10, true, Stop));
        Assert.Equal(0, await store.CountAsync(key.Tenant, Stop));
        Assert.False(await store.DeleteAsync(key, Stop));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("conv_0123abcd@17")]
    public async Task Create_NewId_StoresAnEmptyConversation(string? forkedFrom)
    {
        var seed = Seed with { ForkedFrom = forkedFrom };
        await using (var store = await OpenAsync()) Assert.True(await store.CreateAsync(Key, seed, Stop));
        await using var reopened = await OpenAsync();
        var head = await FindAsync(reopened);
        Assert.Equal(Text(new StoredConversation(Key, seed) { Epoch = head.Epoch, Seq = 0, FirstSeq = 1, State = "" }), Text(head));
        Assert.Single(await ContentAsync(reopened));
    }

    [Fact]
    public async Task Create_IdExists_IsFalseAndChangesNothing()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        await AppendAsync(store, Batch(head.Epoch, 0));
        string[] before = await ContentAsync(store);
        Assert.False(await store.CreateAsync(Key, new("other", 1, new Dictionary<string, string>()), Stop));
        Assert.Equal(before, await ContentAsync(store));
        Assert.Equal(1, await store.CountAsync(Key.Tenant, Stop));
    }

    [Fact]
    public async Task Create_SameIdManyTimesAtOnce_OneSucceeds()
    {
        await using var store = await OpenAsync();
        bool[] created = await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => Task.Run(() => store.CreateAsync(Key, Seed, Stop).AsTask())));
        Assert.Single(created, true);
    }

    [Fact]
    public async Task Keys_ThatLookAlike_StayApart()
    {
        await using var store = await OpenAsync();
        ConversationKey[] keys = [new("a", "b:c"), new("a:b", "c"), new("a", "b/c"), new("a/b", "c"), new("A", "b:c"), new("a", "B:c"), new("a", "*"), new("*", "*"),
            new("a", "%"), new("a", "_"), new("{a}", "b"), new("a", "{b}"), new("a", "{b"), new("a", " b"), new("a", "b"), new("a ", "b"), new("", "b"), new("a", "b\0c"), new("a\0b", "c")];
        foreach (var key in keys)
        {
            var head = await StartAsync(store, key);
            await AppendAsync(store, Batch(head.Epoch, 0) with { State = key.ToString(), Turns = [Turn(1) with { PayloadHash = key.ToString() }], IsLive = true }, key);
        }
        foreach (var key in keys)
        {
            Assert.Equal((key, key.ToString()), ((await FindAsync(store, key)).Key, (await FindAsync(store, key)).State));
            Assert.Equal(key.ToString(), (await store.FindTurnAsync(key, "turn-1", Stop))?.PayloadHash);
            Assert.Equal(keys.Where(k => k.Tenant == key.Tenant).Order(ById).ToArray(), (await store.ListAsync(key.Tenant, null, 100, false, Stop)).Select(c => c.Key));
        }
        Assert.Equal(keys.ToHashSet(), (await store.ListLiveAsync(Stop)).ToHashSet());
    }

    static Comparer<ConversationKey> ById { get; } = Comparer<ConversationKey>.Create((a, b) => string.CompareOrdinal(a.Id, b.Id));

    [Fact]
    public async Task SetMetadata_ReplacesItWhoeverOwnsTheConversation()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        await AppendAsync(store, Batch(head.Epoch, 0));
        var expected = await FindAsync(store) with { Seed = Seed with { Metadata = new Dictionary<string, string> { ["title"] = "Land", ["new"] = "x" } } };
        Assert.True(await store.SetMetadataAsync(Key, expected.Seed.Metadata, Stop));
        Assert.Equal(Text(expected), Text(await FindAsync(store)));
        await AppendAsync(store, Batch(head.Epoch, 1));
        Assert.Equal(Text(expected.Seed.Metadata), Text((await FindAsync(store)).Seed.Metadata));
        Assert.True(await store.SetMetadataAsync(Key, new Dictionary<string, string>(), Stop));
        Assert.Empty((await FindAsync(store)).Seed.Metadata);
    }

    [Fact]
    public async Task AnyMember_CancelledBefore_Throws()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        CancellationToken cancelled = new(canceled: true);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => store.AppendAsync(Key, Batch(head.Epoch, 0), cancelled).AsTask());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => store.FindAsync(Key, cancelled).AsTask());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => store.ReadAsync(Key, 0, 10, cancelled).AsTask());
        await AppendAsync(store, Batch(head.Epoch, (await FindAsync(store)).Seq));
    }
}
