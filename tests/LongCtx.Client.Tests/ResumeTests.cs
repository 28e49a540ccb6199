namespace LongCtx.Client.Tests;

/// <summary>Subscriptions over connections that do not last.</summary>
public sealed class ResumeTests(RealServer server, ITestOutputHelper output) : IClassFixture<RealServer>
{
    static readonly LongCtxClientOptions Impatient = new() { RetryDelay = TimeSpan.FromMilliseconds(1), RetryDelayMax = TimeSpan.FromMilliseconds(20) };

    [Fact]
    public async Task Subscribe_ConnectionsCutAtRandomBytes_GivesTheJournalOnce()
    {
        int seed = Environment.TickCount;
        output.WriteLine($"seed {seed}");
        Random random = new(seed);
        await using Proxy proxy = new(server.Address, _ =>
        {
            lock (random) return random.Next(1, 4000);
        });
        LongCtxClient far = new(Impatient with { Server = proxy.Address }), near = server.Client();
        string id = (await far.CreateConversationAsync(cancellation: Cancellation)).Id;
        Task<List<ConversationEvent>> reading = far.SubscribeAsync(id, 0, Cancellation).UntilAsync(ends: 6);
        for (int i = 0; i < 6; i++) await far.SubmitTurnAsync(id, server.Turn($"Tell me about day {i}.", 60) with { Wait = true }, Cancellation);
        List<ConversationEvent> read = await reading;

        Assert.Equal(Enumerable.Range(1, read.Count).Select(i => (long)i), read.Select(e => e.Seq));
        List<ConversationEvent> journal = await near.SubscribeAsync(id, 0, Cancellation).UntilAsync(ends: 6);
        Assert.Equal(journal.Select(Events.Text), read.Select(Events.Text));
        Assert.Equal(6, read.OfType<TurnAccepted>().Count());
        Assert.True(proxy.Cut > 5, $"{proxy.Cut} connections were cut");
    }

    [Fact]
    public async Task Subscribe_ServerRestartsInTheMiddleOfATurn_GoesOnToItsEnd()
    {
        await using RealServer own = new();
        await own.InitializeAsync();
        LongCtxClient client = own.Client(Impatient);
        string id = (await client.CreateConversationAsync(cancellation: Cancellation)).Id;
        AcceptedTurn turn = await client.SubmitTurnAsync(id, own.Turn("Once upon a time", 400), Cancellation);
        List<ConversationEvent> read = [];
        Task? restart = null;
        await foreach (ConversationEvent e in client.SubscribeAsync(id, 0, Cancellation))
        {
            read.Add(e);
            if (read.OfType<Delta>().Count() == 5) restart ??= RestartAsync(own);
            if (e is Completed or Failed or Cancelled) break;
        }
        Assert.NotNull(restart);
        await restart;

        Assert.Equal(Enumerable.Range(1, read.Count).Select(i => (long)i), read.Select(e => e.Seq));
        Assert.Equal(400, Assert.IsType<Completed>(read[^1]).Usage.OutputTokens);
        Assert.True(read[^1].Epoch > read[0].Epoch, "the turn ended before the server went down");
        List<ConversationEvent> journal = await client.ReadTurnAsync(turn, 0, Cancellation).UntilAsync(ends: 1);
        Assert.Equal(journal.Reply(), read.Reply());
    }

    [Fact]
    public async Task Subscribe_ManyConversations_TakesOneConnectionAndKeepsThemApart()
    {
        await using Proxy proxy = new(server.Address);
        LongCtxClient far = new(Impatient with { Server = proxy.Address }), near = server.Client();
        string[] ids = await Task.WhenAll(Enumerable.Range(0, 20).Select(async _ => (await near.CreateConversationAsync(cancellation: Cancellation)).Id));
        Task<List<ConversationEvent>> reading = far.SubscribeAsync(ids.ToDictionary(i => i, _ => 0L), Cancellation).UntilAsync(ends: ids.Length);
        await Task.WhenAll(ids.Select(id => near.SubmitTurnAsync(id, server.Turn("Speak of " + id, 10), Cancellation)));
        List<ConversationEvent> read = await reading;

        Assert.Equal(1, proxy.Opened);
        foreach (string id in ids)
        {
            ConversationEvent[] own = [.. read.Where(e => e.Conversation == id)];
            Assert.Equal(Enumerable.Range(1, own.Length).Select(i => (long)i), own.Select(e => e.Seq));
            Assert.Equal("Speak of " + id, Assert.IsType<TurnAccepted>(own[0]).Messages[^1].Content);
            Assert.IsType<Completed>(own[^1]);
        }
    }

    [Theory]
    [InlineData(true)] // while the stream is open
    [InlineData(false)] // before it is opened
    public async Task Subscribe_ManyAndOneIsDeleted_TellsAndGoesOnWithTheOthers(bool isOpen)
    {
        LongCtxClient client = server.Client(Impatient);
        string stays = (await client.CreateConversationAsync(cancellation: Cancellation)).Id, goes = (await client.CreateConversationAsync(cancellation: Cancellation)).Id;
        await client.AppendInputAsync(goes, new([new("user", "farewell")]), Cancellation);
        if (!isOpen) await client.DeleteConversationAsync(goes, Cancellation);
        Unsubscribed? told = null;
        await foreach (ConversationEvent e in client.SubscribeAsync(new Dictionary<string, long> { [stays] = 0, [goes] = 0 }, Cancellation))
        {
            if (e is InputAppended && e.Conversation == goes) await client.DeleteConversationAsync(goes, Cancellation);
            if (e is Unsubscribed gone)
            {
                told = gone;
                await client.AppendInputAsync(stays, new([new("user", "still here")]), Cancellation);
            }
            if (e is InputAppended && e.Conversation == stays) break;
        }
        Assert.Equal((goes, ErrorCode.Deleted), (told?.Conversation, told?.Code));
    }

    [Fact]
    public async Task Subscribe_ReaderAheadOfTheJournal_IsRewound()
    {
        LongCtxClient client = server.Client();
        string id = (await client.CreateConversationAsync(cancellation: Cancellation)).Id;
        InputAck ack = await client.AppendInputAsync(id, new([new("user", "hello")]), Cancellation);
        await foreach (ConversationEvent e in client.SubscribeAsync(id, 1000, Cancellation))
        {
            Rewound rewound = Assert.IsType<Rewound>(e);
            Assert.InRange(rewound.Head, ack.Seq, 999);
            Assert.Equal(rewound.Head, rewound.Seq); // to go on behind it
            break;
        }
    }

    [Fact]
    public async Task Subscribe_ConnectionFallsSilent_IsMadeAgain()
    {
        await using Proxy proxy = new(server.Address, connection => connection == 0 ? -300 : null);
        LongCtxClient far = new(Impatient with { Server = proxy.Address, SilenceMax = TimeSpan.FromSeconds(2) }), near = server.Client();
        string id = (await near.CreateConversationAsync(cancellation: Cancellation)).Id;
        Task<List<ConversationEvent>> reading = far.SubscribeAsync(id, 0, Cancellation).UntilAsync(ends: 1);
        await near.SubmitTurnAsync(id, server.Turn("Speak.", 20), Cancellation);
        List<ConversationEvent> read = await reading;
        Assert.Equal(Enumerable.Range(1, read.Count).Select(i => (long)i), read.Select(e => e.Seq));
        Assert.Equal((2, 1), (proxy.Opened, proxy.Cut));
    }

    static async Task RestartAsync(RealServer server)
    {
        await server.StopAsync();
        await server.StartAsync();
    }

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;
}
