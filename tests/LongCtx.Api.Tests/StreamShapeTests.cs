using System.Net;
using System.Text.Json;

namespace LongCtx.Api.Tests;

/// <summary>The bytes of a reply: server-sent events and LongCtx's additions.</summary>
public sealed class StreamShapeTests : IAsyncLifetime
{
    static readonly string[] Details = ["cached_tokens", "audio_tokens"];

    readonly ScriptedHost host = new() { Capacity = 32 };
    ApiServer server = null!;

    public async ValueTask InitializeAsync() => server = await ApiServer.StartAsync(host, o => o.Heartbeat = TimeSpan.FromMilliseconds(20));

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task Stream_Plain_IsRoleThenTextThenReasonThenDone()
    {
        List<string> events = await StreamAsync("""{"stream":true,"messages":[{"role":"user","content":"hi"}]}""");
        Assert.Equal("data: [DONE]", events[^1]);
        JsonElement[] chunks = [.. events[..^1].Select(SseReader.Data)];
        Assert.All(chunks, c => Assert.Equal("chat.completion.chunk", c.GetProperty("object").GetString()));
        Assert.All(chunks, c => Assert.False(c.TryGetProperty("usage", out _)));

        Assert.Equal("""{"role":"assistant","content":""}""", Delta(chunks[0]).GetRawText());
        Assert.Equal(["You", " said:", " hi"], chunks[1..^1].Select(c => Delta(c).GetProperty("content").GetString()));
        Assert.All(chunks[..^1], c => Assert.Equal(JsonValueKind.Null, c.GetProperty("choices")[0].GetProperty("finish_reason").ValueKind));
        Assert.All(chunks[..^1], c => Assert.False(c.TryGetProperty("longctx", out _)));
        Assert.Equal("{}", Delta(chunks[^1]).GetRawText());
        Assert.Equal("stop", chunks[^1].GetProperty("choices")[0].GetProperty("finish_reason").GetString());
        // What left the window is told even where no usage was asked for.
        Assert.Equal(0, chunks[^1].GetProperty("longctx").GetProperty("evicted_tokens").GetInt32());

        static JsonElement Delta(JsonElement chunk) => chunk.GetProperty("choices")[0].GetProperty("delta");
    }

    [Fact]
    public async Task Stream_IncludeUsage_EndsWithAChunkThatHasOnlyUsage()
    {
        List<string> events = await StreamAsync("""{"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}""");
        JsonElement last = SseReader.Data(events[^2]);
        Assert.Equal(0, last.GetProperty("choices").GetArrayLength());
        Assert.Equal(3, last.GetProperty("usage").GetProperty("completion_tokens").GetInt32());
        Assert.Equal("stop", SseReader.Data(events[^3]).GetProperty("choices")[0].GetProperty("finish_reason").GetString());
    }

    [Fact]
    public async Task Stream_IncludeLongCtx_TellsTheWindowWithEveryPiece()
    {
        host.Reply = _ => string.Join(' ', Enumerable.Range(0, 60));
        List<string> events = await StreamAsync(
            """{"stream":true,"seed":11,"stream_options":{"include_longctx":true},"messages":[{"role":"user","content":"hi"}]}""");
        JsonElement[] chunks = [.. events[..^1].Select(e => SseReader.Data(e).GetProperty("longctx"))];

        Assert.Equal("""{"seed":11,"prompt_tokens":4,"cached_tokens":0}""", chunks[0].GetRawText());
        JsonElement[] windows = [.. chunks[1..^1].Select(c => c.GetProperty("window"))];
        Assert.Equal(Enumerable.Range(5, 60), windows.Select(w => w.GetProperty("total").GetInt32()));
        Assert.All(windows, w => Assert.Equal(w.GetProperty("total").GetInt32(), w.GetProperty("visible").GetInt32() + w.GetProperty("evicted").GetInt32()));
        Assert.All(windows, w => Assert.Equal(32, w.GetProperty("capacity").GetInt32()));
        Assert.All(windows, w => Assert.Equal(4, w.GetProperty("sinks").GetInt32()));
        Assert.Equal(32, chunks[^1].GetProperty("evicted_tokens").GetInt32());
    }

    [Fact]
    public async Task Whole_WindowOverflows_UsageSaysHowManyTokensLeft()
    {
        host.Reply = _ => string.Join(' ', Enumerable.Range(0, 60));
        using HttpResponseMessage response = await server.PostAsync("/v1/chat/completions", """{"seed":3,"messages":[{"role":"user","content":"hi"}]}""");
        JsonElement body = await ApiServer.JsonAsync(response);
        Assert.Equal(["id", "object", "created", "model", "system_fingerprint", "choices", "usage"], body.EnumerateObject().Select(p => p.Name));
        JsonElement usage = body.GetProperty("usage");
        Assert.Equal(64, usage.GetProperty("total_tokens").GetInt32());
        Assert.Equal(Details, usage.GetProperty("prompt_tokens_details").EnumerateObject().Select(p => p.Name));
        Assert.Equal(0, usage.GetProperty("completion_tokens_details").GetProperty("reasoning_tokens").GetInt32());
        JsonElement longCtx = usage.GetProperty("longctx");
        Assert.Equal(3UL, longCtx.GetProperty("seed").GetUInt64());
        Assert.Equal(32, longCtx.GetProperty("evicted_tokens").GetInt32());
        Assert.Equal("""{"visible":32,"capacity":32,"evicted":32,"total":64,"sinks":4}""", longCtx.GetProperty("window").GetRawText());
    }

    [Fact]
    public async Task Stream_CharacterOverTwoTokens_IsSentOnceItIsWhole()
    {
        host.Reply = _ => "a 👍🏽 b – c";
        List<string> events = await StreamAsync("""{"stream":true,"messages":[{"role":"user","content":"hi"}]}""");
        string[] texts = [.. events[1..^2].Select(e => SseReader.Data(e).GetProperty("choices")[0].GetProperty("delta").GetProperty("content").GetString()!)];
        Assert.Equal(["a", " 👍🏽", " b", " –", " c"], texts);
    }

    [Fact]
    public async Task Stream_Logprobs_HaveBytesAndNoInfinity()
    {
        host.Reply = _ => "é";
        List<string> events = await StreamAsync("""{"stream":true,"logprobs":true,"top_logprobs":20,"messages":[{"role":"user","content":"hi"}]}""");
        JsonElement[] tokens = [.. events[..^1].Select(e => SseReader.Data(e).GetProperty("choices")[0].GetProperty("logprobs"))
            .Where(l => l.ValueKind == JsonValueKind.Object).SelectMany(l => l.GetProperty("content").EnumerateArray())];
        Assert.Equal(["[195]", "[169]"], tokens.Select(t => t.GetProperty("bytes").GetRawText()));
        Assert.Equal("\uFFFD", tokens[0].GetProperty("token").GetString());
        Assert.Equal(20, tokens[0].GetProperty("top_logprobs").GetArrayLength());
        Assert.Equal(-9999, tokens[0].GetProperty("top_logprobs")[19].GetProperty("logprob").GetDouble());
    }

    [Fact]
    public async Task Stream_EachToken_ArrivesBeforeTheNextIsMade()
    {
        TaskCompletionSource[] gates = [.. Enumerable.Range(0, 3).Select(_ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously))];
        host.Before = (token, cancellation) => token < 0 ? Task.CompletedTask : gates[token].Task.WaitAsync(cancellation);
        using HttpResponseMessage response = await server.OpenAsync(
            """{"stream":true,"messages":[{"role":"user","content":"hi"}]}""", TestContext.Current.CancellationToken);
        using SseReader events = new(await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken));
        Assert.Contains("assistant", await NextDataAsync(), StringComparison.Ordinal);
        foreach ((TaskCompletionSource gate, string word) in gates.Zip(["You", " said:", " hi"]))
        {
            gate.SetResult();
            Assert.Contains($"\"content\":\"{word}\"", await NextDataAsync(), StringComparison.Ordinal);
        }

        async Task<string> NextDataAsync()
        {
            string e;
            do e = (await events.NextAsync())!;
            while (e.StartsWith(':'));
            return e;
        }
    }

    [Fact]
    public async Task Stream_LongWaitInTheQueue_SendsCommentsThenTheReply()
    {
        TaskCompletionSource admitted = new(TaskCreationOptions.RunContinuationsAsynchronously);
        host.Before = (token, cancellation) => token < 0 ? admitted.Task.WaitAsync(cancellation) : Task.CompletedTask;
        using HttpResponseMessage response = await server.OpenAsync(
            """{"stream":true,"messages":[{"role":"user","content":"hi"}]}""", TestContext.Current.CancellationToken);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        using SseReader events = new(await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken));
        Assert.Equal(": waiting", await events.NextAsync());
        Assert.Equal(": waiting", await events.NextAsync());
        admitted.SetResult();
        List<string> rest = await events.AllAsync();
        Assert.Equal("data: [DONE]", rest[^1]);
    }

    async Task<List<string>> StreamAsync(string body)
    {
        using HttpResponseMessage response = await server.OpenAsync(body, TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal("no-cache", response.Headers.CacheControl?.ToString());
        using SseReader events = new(await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken));
        List<string> all = await events.AllAsync();
        return [.. all.Where(e => !e.StartsWith(':'))];
    }
}
