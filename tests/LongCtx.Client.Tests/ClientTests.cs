using System.Text;
using LongCtx.Api;

namespace LongCtx.Client.Tests;

public sealed class ClientTests(RealServer server) : IClassFixture<RealServer>
{
    static readonly LongCtxClientOptions Impatient = new() { RetryDelay = TimeSpan.FromMilliseconds(1), RetryDelayMax = TimeSpan.FromMilliseconds(20) };

    [Fact]
    public async Task Everything_RepliesAreLost_IsDoneOnce()
    {
        // Nothing of an answer arrives on the first connections; what was asked has been done each time.
        await using Proxy proxy = new(server.Address, connection => connection % 3 < 2 ? 1 : null);
        LongCtxClient far = new(new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.Zero }), Impatient with { Server = proxy.Address });
        LongCtxClient near = server.Client();
        int before = await near.ListConversationsAsync(cancellation: Cancellation).CountAsync(Cancellation);

        string id = (await far.CreateConversationAsync(new(null, new Dictionary<string, string> { ["a"] = "b" }), Cancellation)).Id;
        InputAck ack = await far.AppendInputAsync(id, new([new("user", "one")]), Cancellation);
        AcceptedTurn turn = await far.SubmitTurnAsync(id, server.Turn("two", 5) with { Wait = true }, Cancellation);
        List<ConversationEvent> read = await near.ReadTurnAsync(turn, 0, Cancellation).UntilAsync(ends: 1);
        ConversationInfo fork = await far.ForkAsync(id, cancellation: Cancellation);
        await far.DeleteConversationAsync(fork.Id, Cancellation);

        Assert.True(proxy.Cut >= 8, $"{proxy.Cut} connections were cut");
        Assert.False(ack.IsNew);
        Assert.Equal(2, (await near.GetConversationAsync(id, Cancellation)).Turns);
        Assert.Equal("two", Assert.Single(Assert.IsType<TurnAccepted>(read[0]).Messages).Content);
        Assert.Equal(before + 1, await near.ListConversationsAsync(cancellation: Cancellation).CountAsync(Cancellation));
    }

    [Fact]
    public async Task Turn_SameIdAgain_IsTheSameTurnAndAnotherPayloadIsRefused()
    {
        LongCtxClient client = server.Client();
        string id = (await client.CreateConversationAsync(cancellation: Cancellation)).Id;
        SubmitTurn turn = server.Turn("hello", 5, "message-1");
        AcceptedTurn first = await client.SubmitTurnAsync(id, turn, Cancellation);
        await client.ReadTurnAsync(first, 0, Cancellation).UntilAsync(ends: 1);
        Assert.Equal(first, await client.SubmitTurnAsync(id, turn, Cancellation));
        LongCtxException refused = await Assert.ThrowsAsync<LongCtxException>(() => client.SubmitTurnAsync(id, server.Turn("other", 5, "message-1"), Cancellation));
        Assert.Equal(ErrorCode.Conflict, refused.Code);
    }

    [Fact]
    public async Task Turn_Cancelled_EndsAndSaysSo()
    {
        LongCtxClient client = server.Client();
        string id = (await client.CreateConversationAsync(cancellation: Cancellation)).Id;
        List<ConversationEvent> read = [];
        await foreach (ConversationEvent e in client.AskAsync(id, server.Turn("Go on for ever.", 100_000), Cancellation))
        {
            read.Add(e);
            if (read.OfType<Delta>().Count() != 3) continue;
            Assert.Equal(TurnStatus.InProgress, await client.GetTurnStatusAsync(id, e.Turn, Cancellation));
            LongCtxException busy = await Assert.ThrowsAsync<LongCtxException>(() => client.SubmitTurnAsync(id, server.Turn("And me?", 1), Cancellation));
            Assert.Equal(ErrorCode.TurnInProgress, busy.Code);
            await client.CancelTurnAsync(id, e.Turn, Cancellation);
        }
        Assert.IsType<Cancelled>(read[^1]);
        Assert.Equal(TurnStatus.Cancelled, await client.GetTurnStatusAsync(id, read[^1].Turn, Cancellation));
    }

    [Fact]
    public async Task Conversation_ForkExportImportMetadata_KeepWhatWasSaid()
    {
        LongCtxClient client = server.Client();
        ConversationInfo made = await client.CreateConversationAsync(
            new(null, new Dictionary<string, string> { ["topic"] = "sea" }) { Messages = [new("system", "Be brief.")] }, Cancellation);
        List<ConversationEvent> said = await client.AskAsync(made.Id, server.Turn("What is the sea?", 12), Cancellation).UntilAsync(ends: 1);
        ConversationInfo fork = await client.ForkAsync(made.Id, said[0].Seq - 1, "a fork", Cancellation);
        Assert.Equal(fork.Id, (await client.ForkAsync(made.Id, said[0].Seq - 1, "a fork", Cancellation)).Id);
        Assert.Equal((1, $"{made.Id}@{said[0].Seq - 1}"), (fork.Turns, fork.ForkedFrom));

        List<string> lines = await client.ExportAsync(made.Id, Cancellation).ToListAsync(Cancellation);
        ConversationInfo copy = await client.ImportAsync(lines.ToAsyncEnumerable(), Cancellation);
        List<ConversationEvent> copied = await client.SubscribeAsync(copy.Id, 0, Cancellation).UntilAsync(ends: 1);
        Assert.Equal(said.Reply(), copied.Reply());

        ConversationInfo labelled = await client.SetMetadataAsync(made.Id, new Dictionary<string, string> { ["topic"] = "land" }, Cancellation);
        Assert.Equal("land", labelled.Metadata["topic"]);
        Assert.Contains(copy.Id, await client.ListConversationsAsync(cancellation: Cancellation).Select(c => c.Id).ToListAsync(Cancellation));
        await client.DeleteConversationAsync(copy.Id, Cancellation);
        Assert.Equal(ErrorCode.Deleted, (await Assert.ThrowsAsync<LongCtxException>(() => client.GetConversationAsync(copy.Id, Cancellation))).Code);
    }

    [Fact]
    public async Task List_ConversationsOfThisClient_IsByAge()
    {
        LongCtxClient client = server.Client();
        List<string> made = [];
        for (int i = 0; i < 3; i++)
        {
            made.Add((await client.CreateConversationAsync(cancellation: Cancellation)).Id);
            for (DateTimeOffset now = TimeProvider.System.GetUtcNow(); (TimeProvider.System.GetUtcNow() - now).TotalMilliseconds < 2;) await Task.Yield(); // ids tell milliseconds apart
        }
        Assert.Equal(made, await client.ListConversationsAsync(ascending: true, Cancellation).Select(c => c.Id).Where(made.Contains).ToListAsync(Cancellation));
        Assert.Equal(made.Reverse<string>(), await client.ListConversationsAsync(cancellation: Cancellation).Select(c => c.Id).Where(made.Contains).ToListAsync(Cancellation));
    }

    [Fact]
    public async Task Feed_BrokenOffAndBegunAgain_AppendsEveryByteOnce()
    {
        string text = string.Concat(Enumerable.Range(0, 2500).Select(i => $"{i}: größer als 狼 und 🦊; "));
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        LongCtxClient client = server.Client();
        string id = (await client.CreateConversationAsync(cancellation: Cancellation)).Id;
        await foreach (FedPiece piece in client.FeedAsync(id, new MemoryStream(bytes), "book", cancellation: Cancellation))
            if (piece.Number == 7) break;
        List<FedPiece> pieces = await client.FeedAsync(id, new MemoryStream(bytes), "book", cancellation: Cancellation).ToListAsync(Cancellation);

        Assert.Equal(Enumerable.Range(1, pieces.Count).Select(n => (n, n > 7)), pieces.Select(p => ((int)p.Number, p.IsNew)));
        Assert.Equal(bytes.Length, pieces[^1].Bytes);
        StringBuilder journal = new();
        await foreach (ConversationEvent e in client.SubscribeAsync(id, 0, Cancellation))
        {
            if (e is InputAppended input) journal.Append(Assert.Single(input.Messages).Content);
            if (e.Seq >= pieces[^1].Seq) break;
        }
        Assert.Equal(text, journal.ToString());
    }

    [Fact]
    public async Task Feed_NoUtf8_SaysWhereAndKeepsWhatCameBefore()
    {
        byte[] bytes = [.. Encoding.UTF8.GetBytes(new string('a', 5000)), 0xFF, .. "tail"u8];
        LongCtxClient client = server.Client();
        string id = (await client.CreateConversationAsync(cancellation: Cancellation)).Id;
        LongCtxException refused = await Assert.ThrowsAsync<LongCtxException>(
            async () => await client.FeedAsync(id, new MemoryStream(bytes), "bad", cancellation: Cancellation).CountAsync(Cancellation));
        Assert.Contains("behind byte 5000", refused.Message, StringComparison.Ordinal);
        Assert.Equal(1, (await client.GetConversationAsync(id, Cancellation)).Turns);
    }

    [Fact]
    public async Task Refusals_AreWhatTheServerSaid()
    {
        LongCtxClient client = server.Client();
        string unknown = ConversationIds.New("small");
        LongCtxException missing = await Assert.ThrowsAsync<LongCtxException>(() => client.GetConversationAsync(unknown, Cancellation));
        Assert.Equal(ErrorCode.NotFound, missing.Code);
        Assert.Contains(unknown, missing.Message, StringComparison.Ordinal);
        Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<LongCtxException>(async () => await client.SubscribeAsync(unknown, 0, Cancellation).UntilAsync(1))).Code);
        Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<LongCtxException>(() => client.GetConversationAsync("../models", Cancellation))).Code);
        Assert.Equal(ErrorCode.ModelNotFound, (await Assert.ThrowsAsync<LongCtxException>(() => client.CreateConversationAsync(new("none"), Cancellation))).Code);
    }

    [Fact]
    public async Task NoServer_IsUnreachableAfterThePatience()
    {
        LongCtxClient client = new(Impatient with { Server = new("http://127.0.0.1:1"), RetryFor = TimeSpan.FromMilliseconds(50), ReconnectFor = TimeSpan.Zero });
        LongCtxException failure = await Assert.ThrowsAsync<LongCtxException>(() => client.CreateConversationAsync(cancellation: Cancellation));
        Assert.Equal(ErrorCode.Unreachable, failure.Code);
        Assert.Contains("http://127.0.0.1:1/", failure.Message, StringComparison.Ordinal);
        failure = await Assert.ThrowsAsync<LongCtxException>(async () => await client.SubscribeAsync(ConversationIds.New("small"), 0, Cancellation).UntilAsync(1));
        Assert.Equal(ErrorCode.Unreachable, failure.Code);
    }

    [Fact]
    public async Task Keys_WithoutOneIsUnauthorizedAndWithOneServed()
    {
        (string secret, ApiKey key) = ApiKey.New("alice");
        await using RealServer own = new() { Keys = [key] };
        await own.InitializeAsync();
        Assert.Equal(ErrorCode.Unauthorized, (await Assert.ThrowsAsync<LongCtxException>(() => own.Client().CreateConversationAsync(cancellation: Cancellation))).Code);
        Assert.NotEmpty((await own.Client(new() { ApiKey = secret }).CreateConversationAsync(cancellation: Cancellation)).Id);
    }

    [Fact]
    public void Options_OutOfRange_AreRefusedByName()
    {
        LongCtxClientOptions options = new();
        foreach (LongCtxClientOptions bad in (LongCtxClientOptions[])[
            options with { Server = new("ftp://a") }, options with { Server = new("/a", UriKind.Relative) }, options with { RetryFor = TimeSpan.FromSeconds(-2) },
            options with { RetryDelay = TimeSpan.Zero }, options with { RetryDelayMax = TimeSpan.FromMilliseconds(1) }, options with { SilenceMax = TimeSpan.Zero }])
            Assert.Contains(nameof(LongCtxClientOptions), Assert.Throws<LongCtxException>(() => new LongCtxClient(bad)).Message, StringComparison.Ordinal);
    }

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;
}
