using System.Net;
using LongCtx.Cli.Bench;

namespace LongCtx.Cli.Tests.Bench;

public sealed class EventStreamTests
{
    const string Accepted = "id: 1\nevent: turn_accepted\ndata: {}\n\n", Delta = "id: 2\nevent: delta\ndata: {}\n\n", End = "id: 3\nevent: completed\ndata: {}\n\n";

    [Fact]
    public async Task ReadTurn_WholeTurns_StopsBehindEachEnd()
    {
        using EventStream stream = await OpenAsync($"retry: 2000\n\n{Accepted}: waiting\n\n{Delta}{End}id: 4\nevent: turn_accepted\ndata: {{}}\n\nid: 5\nevent: completed\ndata: {{}}\n\n");
        await stream.ReadTurnAsync(TestContext.Current.CancellationToken);
        Assert.Equal(3, stream.Seq);
        await stream.ReadTurnAsync(TestContext.Current.CancellationToken);
        Assert.Equal(5, stream.Seq);
    }

    [Theory]
    [InlineData(Accepted + End, "got event 3 behind event 1")]
    [InlineData(Accepted + Delta + Delta + End, "got event 2 behind event 2")]
    [InlineData(Accepted + Delta, "ended behind event 2")]
    [InlineData(Accepted + "event: error\ndata: {}\n\n" + Delta + End, "told 'error' behind event 1")]
    [InlineData(Accepted + "id: 2\nevent: failed\ndata: {}\n\n", "told 'failed' behind event 2")]
    [InlineData("event: gap\ndata: {}\n\n" + Accepted + Delta + End, "told 'gap' behind event 0")]
    public async Task ReadTurn_AnythingElse_IsAnError(string text, string expected)
    {
        using EventStream stream = await OpenAsync(text);
        var failure = await Assert.ThrowsAsync<CheckFailedException>(() => stream.ReadTurnAsync(TestContext.Current.CancellationToken));
        Assert.Contains(expected, failure.Message, StringComparison.Ordinal);
    }

    static Task<EventStream> OpenAsync(string text) =>
        EventStream.OpenAsync(new HttpClient(new Scripted(text)) { BaseAddress = new("http://127.0.0.1") }, "conv", TestContext.Current.CancellationToken);

    sealed class Scripted(string text) : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            Task.FromResult(new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent(text) });
    }
}
