using System.Net;
using System.Text;

namespace LongCtx.Client.Tests;

/// <summary>What a real server does rarely or never, told by a scripted one.</summary>
public sealed class SubscriptionTests
{
    static readonly string Id = ConversationIds.New("small");

    [Fact]
    public async Task Gap_IsTold_AndTheStreamGoesOnBehindIt()
    {
        Script script = new(
            $"id: 6\nevent: gap\ndata: {{\"conversation\":\"{Id}\",\"first\":7}}\n\n{Delta(7)}",
            Delta(8));
        List<ConversationEvent> read = await Client(script).SubscribeAsync(Id, 2, Cancellation).Take(3).ToListAsync(Cancellation);
        Assert.Equal((7L, 6L), (Assert.IsType<Gap>(read[0]).First, read[0].Seq));
        Assert.Equal([7L, 8L], read.Skip(1).Select(e => e.Seq));
        Assert.Equal(["after=2", "after=7"], script.Queries);
    }

    [Fact]
    public async Task Events_HalfAnEventRepeatedEventsAndComments_AreReadOnce()
    {
        string half = Delta(3)[..^4];
        Script script = new(": waiting\n\nretry: 2000\n\n" + Delta(1) + Delta(2) + half, Delta(2) + Delta(3));
        List<ConversationEvent> read = await Client(script).SubscribeAsync(Id, 0, Cancellation).Take(3).ToListAsync(Cancellation);
        Assert.Equal([1L, 2L, 3L], read.Select(e => e.Seq));
        Assert.Equal(["after=0", "after=2"], script.Queries);
    }

    /// <summary>The server chooses the first event; from then on every one counts.</summary>
    [Fact]
    public async Task Newest_BeginsAnywhere_AndGoesOnBehindTheLastEvent()
    {
        Script script = new("", Delta(40) + Delta(41), Delta(42));
        List<ConversationEvent> read = await Client(script).SubscribeToNewestAsync(Id, 3, Cancellation).Take(3).ToListAsync(Cancellation);
        Assert.Equal([40L, 41L, 42L], read.Select(e => e.Seq));
        Assert.Equal(["turns=3", "turns=3", "after=41"], script.Queries);
        LongCtxException failure = await Assert.ThrowsAsync<LongCtxException>(
            async () => await Client(new(Delta(40) + Delta(42))).SubscribeToNewestAsync(Id, 3, Cancellation).CountAsync(Cancellation));
        Assert.Contains("left out events", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Rewound_InTheJournalAndBeforeIt_AreBothTold()
    {
        Script script = new(
            $"id: 4\nevent: rewound\ndata: {{\"conversation\":\"{Id}\",\"head\":4}}\n\n"
            + "id: 5\nevent: rewound\ndata: {\"kind\":\"rewound\",\"head\":4,\"seq\":5,\"epoch\":2,\"turn\":0,\"at\":1,\"token_start\":0,\"token_count\":0}\n\n");
        List<ConversationEvent> read = await Client(script).SubscribeAsync(Id, 9, Cancellation).Take(2).ToListAsync(Cancellation);
        Assert.Equal([(4L, 4L), (5L, 4L)], read.Cast<Rewound>().Select(r => (r.Seq, r.Head)));
    }

    [Fact]
    public async Task Turn_LostByARewinding_IsAnErrorThatSaysSo()
    {
        Script script = new($"id: 4\nevent: rewound\ndata: {{\"conversation\":\"{Id}\",\"head\":4}}\n\n");
        LongCtxException lost = await Assert.ThrowsAsync<LongCtxException>(
            async () => await Client(script).ReadTurnAsync(new(Id, 3, 6), 8, Cancellation).CountAsync(Cancellation));
        Assert.Equal(ErrorCode.NotFound, lost.Code);
        Assert.Contains("Send the turn again", lost.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("event: delta\ndata: {\"kind\":\"delta\",\"text\":\"x\",\"seq\":3}\n\n", "left out events")]
    [InlineData("event: dream\ndata: {\"kind\":\"dream\",\"seq\":1}\n\n", "newer than this client")]
    [InlineData("event: delta\ndata: {\n\n", "cannot be read")]
    public async Task Server_BreaksThePromise_IsAnErrorAndNotALoop(string events, string reason)
    {
        LongCtxException failure = await Assert.ThrowsAsync<LongCtxException>(
            async () => await Client(new(events)).SubscribeAsync(Id, 0, Cancellation).CountAsync(Cancellation));
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    static string Delta(long seq) => $"id: {seq}\nevent: delta\ndata: {{\"kind\":\"delta\",\"text\":\"x\",\"seq\":{seq},\"epoch\":1,\"turn\":1,\"at\":1,\"token_start\":{seq},\"token_count\":1}}\n\n";

    static LongCtxClient Client(Script script) => new(new HttpClient(script), new() { RetryDelay = TimeSpan.FromMilliseconds(1), RetryDelayMax = TimeSpan.FromMilliseconds(2) });

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Each connection gets the next text and is closed behind it.</summary>
    sealed class Script(params string[] answers) : HttpMessageHandler
    {
        public List<string> Queries { get; } = [];

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Queries.Add(request.RequestUri!.Query.TrimStart('?'));
            return Task.FromResult(new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent(answers[Queries.Count - 1], Encoding.UTF8, "text/event-stream") });
        }
    }
}
