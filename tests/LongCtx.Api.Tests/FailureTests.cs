using System.Net;
using System.Text.Json;

namespace LongCtx.Api.Tests;

/// <summary>What clients see when the host refuses, fails or goes down.</summary>
public sealed class FailureTests : IAsyncLifetime
{
    const string Whole = """{"messages":[{"role":"user","content":"hi"}]}""";
    const string Streamed = """{"stream":true,"messages":[{"role":"user","content":"hi"}]}""";

    readonly ScriptedHost host = new();
    ApiServer server = null!;

    public async ValueTask InitializeAsync() => server = await ApiServer.StartAsync(host, o => o.ShutdownGrace = TimeSpan.FromMilliseconds(50));

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Theory]
    [InlineData(Whole)]
    [InlineData(Streamed)]
    public async Task Chat_QueueFull_Is429WithRetryAfterRoundedUp(string body)
    {
        host.Places = 0;
        using HttpResponseMessage response = await server.PostAsync("/v1/chat/completions", body);
        await response.AssertErrorAsync(429, "queue_full");
        Assert.Equal(TimeSpan.FromSeconds(3), response.Headers.RetryAfter?.Delta);
    }

    public static TheoryData<ErrorCode, int, string> Refusals => new()
    {
        { ErrorCode.InvalidRequest, 400, "invalid_value" },
        { ErrorCode.UnsupportedParameter, 400, "unsupported_parameter" },
        { ErrorCode.ContextLengthExceeded, 400, "context_length_exceeded" },
        { ErrorCode.ModelNotFound, 404, "model_not_found" },
        { ErrorCode.QueueFull, 429, "queue_full" },
        { ErrorCode.ShuttingDown, 503, "shutting_down" },
        { ErrorCode.Unauthorized, 401, "invalid_api_key" },
        { ErrorCode.NotFound, 404, "not_found" },
        { ErrorCode.Deleted, 410, "deleted" },
        { ErrorCode.TurnInProgress, 409, "turn_in_progress" },
        { ErrorCode.Conflict, 409, "conflict" },
        { ErrorCode.LimitReached, 429, "limit_reached" },
        { ErrorCode.StoreUnavailable, 503, "store_unavailable" },
        { ErrorCode.EngineFailure, 500, "engine_failure" },
    };

    [Theory]
    [MemberData(nameof(Refusals))]
    public async Task Chat_HostRefuses_HasItsStatusMessageAndParameter(ErrorCode code, int status, string name)
    {
        host.Before = (_, _) => throw new LongCtxException(code, "The reason.", "messages");
        foreach (string body in (string[])[Whole, Streamed])
        {
            using HttpResponseMessage response = await server.PostAsync("/v1/chat/completions", body);
            JsonElement error = await response.AssertErrorAsync(status, name, "messages");
            Assert.Equal("The reason.", error.GetProperty("message").GetString());
        }
    }

    [Fact]
    public async Task Errors_EveryCodeOfTheContract_IsMapped() =>
        Assert.Equal(Enum.GetValues<ErrorCode>().Except([ErrorCode.Unreachable]), Refusals.Select(row => row.Data.Item1));

    [Fact]
    public async Task Chat_HostHasABug_Is500ThatShowsNothingOfIt()
    {
        host.Before = (_, _) => throw new InvalidOperationException("secret detail");
        using HttpResponseMessage response = await server.PostAsync("/v1/chat/completions", Whole);
        JsonElement error = await response.AssertErrorAsync(500, "internal_error");
        string message = error.GetProperty("message").GetString()!;
        Assert.DoesNotContain("secret", message, StringComparison.Ordinal);
        Assert.Contains(Assert.Single(response.Headers.GetValues("x-request-id")), message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stream_EngineFailsInTheMiddle_EndsWithAnErrorEvent()
    {
        host.Before = (token, _) => token == 2 ? throw new LongCtxException(ErrorCode.EngineFailure, "The engine broke.") : Task.CompletedTask;
        using HttpResponseMessage response = await server.OpenAsync(Streamed, TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        using SseReader events = new(await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken));
        List<string> all = await events.AllAsync();
        Assert.Equal(4, all.Count);
        Assert.StartsWith("event: error\n", all[^1], StringComparison.Ordinal);
        Assert.Equal("""{"error":{"message":"The engine broke.","type":"server_error","param":null,"code":"engine_failure"}}""", SseReader.Data(all[^1]).GetRawText());
    }

    [Fact]
    public async Task Whole_EngineFailsInTheMiddle_Is500()
    {
        host.Before = (token, _) => token == 2 ? throw new LongCtxException(ErrorCode.EngineFailure, "The engine broke.") : Task.CompletedTask;
        using HttpResponseMessage response = await server.PostAsync("/v1/chat/completions", Whole);
        await response.AssertErrorAsync(500, "engine_failure");
    }

    [Fact]
    public async Task Stream_ServerStops_RunningReplyEndsWithAnErrorEventAfterTheGrace()
    {
        host.Before = (token, cancellation) => token == 1 ? Task.Delay(Timeout.Infinite, cancellation) : Task.CompletedTask;
        using HttpResponseMessage response = await server.OpenAsync(Streamed, TestContext.Current.CancellationToken);
        using SseReader events = new(await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken));
        await events.NextAsync();
        Task<HttpResponseMessage> whole = server.PostAsync("/v1/chat/completions", Whole);
        while ((await host.GetStatusAsync(TestContext.Current.CancellationToken)).Running < 2) await Task.Delay(5, TestContext.Current.CancellationToken);

        Task stopping = server.StopAsync();
        List<string> rest = await events.AllAsync();
        Assert.StartsWith("event: error\n", rest[^1], StringComparison.Ordinal);
        Assert.Equal("shutting_down", SseReader.Data(rest[^1]).GetProperty("error").GetProperty("code").GetString());
        await (await whole).AssertErrorAsync(503, "shutting_down");
        await stopping;
        Assert.Equal(0, (await host.GetStatusAsync(TestContext.Current.CancellationToken)).Running);
    }

    [Fact]
    public async Task Health_HostIsNotReady_Is503WithTheStatus()
    {
        host.Ready = false;
        using HttpResponseMessage response = await server.Http.GetAsync("/health", TestContext.Current.CancellationToken);
        JsonElement report = await ApiServer.JsonAsync(response);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        Assert.Equal("not_ready", report.GetProperty("status").GetString());
        Assert.True(report.GetProperty("live").GetBoolean());
    }

    [Fact]
    public async Task Embeddings_TextsWereCut_UsageSaysHowMany()
    {
        string text = string.Join(' ', Enumerable.Repeat("word", 300));
        using HttpResponseMessage response = await server.PostAsync("/v1/embeddings", $$"""{"input":["short","{{text}}"]}""");
        JsonElement body = await ApiServer.JsonAsync(response);
        Assert.Equal(1, body.GetProperty("usage").GetProperty("longctx").GetProperty("truncated_inputs").GetInt32());
    }
}
