namespace LongCtx.Conversations.Storage.Tests;

// Any text comes back as it went in; text that has no UTF-8 form is refused, never replaced.
partial class ConversationStoreConformance
{
    [Theory]
    [InlineData("nul", "a\0b\0")]
    [InlineData("only nul", "\0")]
    [InlineData("controls", "\u0001\b\t\n\u000b\f\r\u001b\u007f\u0085\u2028\u2029\ufeff")]
    [InlineData("quotes", "'\"\\`;--/*%_?*[]{}$(1)\r\n'); DROP TABLE conversations;")]
    [InlineData("unicode", "Grüße 漢字 שלום e\u0301 é \ud83d\ude00\ud83c\udff3\ufe0f\u200d\ud83c\udf08 \uffff \ufffd \udbff\udfff")]
    [InlineData("empty", "")]
    public async Task AnyText_ComesBackAsItWentIn(string name, string text)
    {
        ConversationKey key = new("t" + text, "i" + text);
        var seed = new ConversationSeed(text, 1, new Dictionary<string, string> { [text] = text, ["k" + text] = "" }, text);
        string[] before;
        await using (var store = await OpenAsync())
        {
            Assert.True(await store.CreateAsync(key, seed, Stop));
            var head = Assert.IsType<StoredConversation>(await store.AcquireAsync(key, text, Stop));
            Assert.Equal((key, text, text, text), (head.Key, head.Seed.Model, head.Seed.ForkedFrom, head.Seed.Metadata[text]));
            var turn = new TurnInfo(1, text, text, TurnStatus.Completed, 1, 1);
            AppendBatch batch = new(head.Epoch, 0, Guid.NewGuid(), [new(1, text, new[] { 1 }, text)], text) { Turns = [turn], Segments = [new(1, 0, new[] { 1 }, text)], IsLive = true };
            await AppendAsync(store, batch, key);
            Assert.Equal(turn, await store.FindTurnAsync(key, text, Stop));
            before = await ContentAsync(store, key);
            Assert.Equal([Text(head with { Seq = 1, State = text }), Text(batch.Events[0]), turn.ToString(), Text(batch.Segments[0])], before);
        }
        await using var reopened = await OpenAsync();
        Assert.Equal(before, await ContentAsync(reopened, key));
        Assert.Equal([key], await reopened.ListLiveAsync(Stop));
        Assert.True(key == Assert.Single(await reopened.ListAsync(key.Tenant, null, 10, true, Stop)).Key, name);
    }

    [Fact]
    public async Task TextWithALoneSurrogate_IsRefusedAndNothingOfItIsStored()
    {
        const string bad = "ab\ud83d";
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        await AppendAsync(store, Batch(head.Epoch, 0));
        string[] before = await ContentAsync(store);

        Dictionary<string, string> name = new() { [bad] = "" }, value = new() { ["k"] = "\udc00x" };
        var good = Batch(head.Epoch, 1);
        Func<ValueTask>[] calls =
        [
            async () => await store.CreateAsync(Id(2) with { Tenant = bad }, Seed, Stop),
            async () => await store.CreateAsync(new("default", bad), Seed, Stop),
            async () => await store.CreateAsync(Id(2), Seed with { Model = bad }, Stop),
            async () => await store.CreateAsync(Id(2), Seed with { Metadata = name }, Stop),
            async () => await store.CreateAsync(Id(2), Seed with { Metadata = value }, Stop),
            async () => await store.CreateAsync(Id(2), Seed with { ForkedFrom = bad }, Stop),
            async () => await store.SetMetadataAsync(Key, name, Stop),
            async () => await store.SetMetadataAsync(Key, value, Stop),
            async () => await store.AppendAsync(Key, good with { State = bad }, Stop),
            async () => await store.AppendAsync(Key, good with { Events = [new(2, bad, default, "")] }, Stop),
            async () => await store.AppendAsync(Key, good with { Events = [Event(2), new(3, "delta", default, bad)] }, Stop),
            async () => await store.AppendAsync(Key, good with { Turns = [Turn(1), Turn(2) with { TurnId = bad }] }, Stop),
            async () => await store.AppendAsync(Key, good with { Turns = [Turn(1), Turn(2) with { PayloadHash = bad }] }, Stop),
            async () => await store.AppendAsync(Key, good with { Segments = [Segment(1), Segment(2) with { Hash = bad }] }, Stop),
            async () => await store.FindAsync(new("default", bad), Stop),
            async () => await store.FindTurnAsync(Key, bad, Stop),
        ];
        foreach (var call in calls) await Assert.ThrowsAnyAsync<ArgumentException>(() => call().AsTask());
        Assert.Equal(before, await ContentAsync(store));
        Assert.Equal(1, await store.CountAsync("default", Stop));
        await AppendAsync(store, good);
    }
}
