using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using LongCtx.Api.Items;
using Microsoft.AspNetCore.Http;

namespace LongCtx.Api.Tests;

/// <summary>Bodies of any length that are appended while they arrive.</summary>
public sealed class FeedTests(LiveServer server)
{
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>.NET's own client reads nothing before it has sent everything, so this speaks HTTP itself.</summary>
    [Fact]
    public async Task Lines_SentOneByOne_AreAcknowledgedBeforeTheNextIsSent()
    {
        string id = await server.CreateAsync();
        using TcpClient connection = new();
        await connection.ConnectAsync(server.Address.Host, server.Address.Port, Cancellation);
        await using NetworkStream stream = connection.GetStream();
        using StreamReader answer = new(stream);
        await SendAsync($"POST /v1/conversations/{id}/items?producer=p HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
        long sent = 0;
        for (int number = 1; number <= 3; number++)
        {
            string line = $"{{\"type\":\"message\",\"role\":\"user\",\"content\":\"n{number}\"}}\n";
            sent += line.Length;
            await SendAsync($"{line.Length:x}\r\n{line}\r\n");
            string? ack;
            do ack = await answer.ReadLineAsync(Cancellation);
            while (ack?.StartsWith('{') == false);
            JsonElement acknowledged = JsonSerializer.Deserialize<JsonElement>(ack!);
            Assert.Equal((number, sent, true), (acknowledged.GetProperty("number").GetInt32(), acknowledged.GetProperty("bytes").GetInt64(), acknowledged.GetProperty("new").GetBoolean()));
            // What is acknowledged is stored, while the body is still open.
            Assert.Equal(number, (await server.Host.GetConversationAsync("default", id, Cancellation)).Turns);
            Assert.Equal(number, acknowledged.GetProperty("turn").GetInt32());
        }
        await SendAsync("0\r\n\r\n");

        Task SendAsync(string text) => stream.WriteAsync(Encoding.ASCII.GetBytes(text), Cancellation).AsTask();
    }

    [Fact]
    public async Task Acks_ClientDoesNotRead_AreMergedAndHoldNothingUp()
    {
        Pipe pipe = new(new PipeOptions(pauseWriterThreshold: 1, resumeWriterThreshold: 0, useSynchronizationContext: false));
        DefaultHttpContext http = new();
        http.Response.Body = pipe.Writer.AsStream();
        AckWriter acks = new(http.Response);
        for (int n = 1; n <= 1000; n++) await acks.SendAsync(new(n, n, n, true, n * 10), Cancellation).AsTask().WaitAsync(TimeSpan.FromSeconds(30), Cancellation);
        Task finishing = acks.FinishAsync(null, Cancellation);
        using StreamReader reader = new(pipe.Reader.AsStream());
        Assert.Equal(1, JsonSerializer.Deserialize<JsonElement>((await reader.ReadLineAsync(Cancellation))!).GetProperty("number").GetInt32());
        Assert.Equal(1000, JsonSerializer.Deserialize<JsonElement>((await reader.ReadLineAsync(Cancellation))!).GetProperty("number").GetInt32());
        await finishing;
    }

    [Fact]
    public async Task Text_SentAgainAfterABreak_IsAppendedOnceAndWhole()
    {
        string id = await server.CreateAsync();
        string text = string.Concat(Enumerable.Range(0, 1500).Select(i => $"line {i} é\n"));
        List<JsonElement> whole = await FeedAsync(id, "text/plain", text[..(text.Length / 2)], "?producer=book&number=1&role=user");
        Assert.All(whole, a => Assert.True(a.GetProperty("new").GetBoolean()));

        // All but the last piece ended where the content says, so sending it all again finds them.
        List<JsonElement> resumed = await FeedAsync(id, "text/plain", text[text.IndexOf("line", Offset(text, whole[^2]), StringComparison.Ordinal)..], $"?producer=book&number={whole.Count + 1}");
        Assert.All(resumed, a => Assert.True(a.GetProperty("new").GetBoolean()));
        List<JsonElement> repeated = await FeedAsync(id, "text/plain", text[..(text.Length / 2)], "?producer=book&number=1");
        Assert.All(repeated, a => Assert.False(a.GetProperty("new").GetBoolean()));

        JsonElement items = await server.JsonAsync("GET", $"/v1/conversations/{id}/items?order=asc&limit=100");
        string[] stored = [.. items.GetProperty("data").EnumerateArray().Select(i => i.GetProperty("content")[0].GetProperty("text").GetString()!)];
        Assert.Equal(whole.Count + resumed.Count, stored.Length);
        Assert.Equal(text[..(text.Length / 2)], string.Concat(stored[..whole.Count]));
        Assert.EndsWith("line 1499 é\n", stored[^1], StringComparison.Ordinal);
    }

    static int Offset(string text, JsonElement ack) => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)[..ack.GetProperty("bytes").GetInt32()]).Length;

    [Fact]
    public async Task Lines_OneIsBad_ThoseBeforeItAreStoredAndTheAnswerSaysWhich()
    {
        string id = await server.CreateAsync();
        List<JsonElement> lines = await FeedAsync(id, "application/x-ndjson", "{\"role\":\"user\",\"content\":\"ok\"}\n{\"role\":\"owner\",\"content\":\"x\"}\n", "");
        Assert.Equal(1, lines[0].GetProperty("number").GetInt32());
        JsonElement error = lines[1].GetProperty("error");
        Assert.Equal(("invalid_value", "line 2.role"), (error.GetProperty("code").GetString(), error.GetProperty("param").GetString()));
        Assert.Equal(1, (await server.Host.GetConversationAsync("default", id, Cancellation)).Turns);
    }

    [Theory]
    [InlineData("", "", 400, "invalid_value")]
    [InlineData("\n\n", "", 400, "invalid_value")]
    [InlineData("{\n", "", 400, "invalid_json")]
    [InlineData("[1]\n", "", 400, "invalid_type")]
    [InlineData("{\"role\":\"user\",\"content\":\"\xff\"}\n", "", 400, "invalid_utf8")]
    [InlineData("{\"role\":\"user\",\"content\":\"x\"}\n", "?number=1", 400, "invalid_value")]
    [InlineData("{\"role\":\"user\",\"content\":\"x\"}\n", "?producer=p&number=0", 400, "invalid_value")]
    [InlineData("{\"role\":\"user\",\"content\":\"x\"}\n", "?role=user", 400, "unknown_parameter")]
    public async Task Lines_BadFromTheBeginning_AreAnOrdinaryError(string body, string query, int status, string code)
    {
        ByteArrayContent content = new(Encoding.Latin1.GetBytes(body));
        content.Headers.ContentType = new("application/x-ndjson");
        using HttpResponseMessage response = await server.Http.PostAsync($"/v1/conversations/{await server.CreateAsync()}/items{query}", content, Cancellation);
        Assert.Equal((HttpStatusCode)status, response.StatusCode);
        Assert.Equal(code, (await ApiServer.JsonAsync(response)).GetProperty("error").GetProperty("code").GetString());
    }

    [Fact]
    public async Task Lines_LongerThanABodyMayBe_AreRefusedWhileTheWholeMayBeLonger()
    {
        await using LiveServer small = await LiveServer.StartAsync(configure: o => o.MaxBodyBytes = 2000);
        string id = await small.CreateAsync();
        string line = $"{{\"role\":\"user\",\"content\":\"{new string('x', 900)}\"}}\n";
        StringContent many = new(string.Concat(Enumerable.Repeat(line, 5)), Encoding.UTF8, "application/x-ndjson");
        using HttpResponseMessage stored = await small.Http.PostAsync($"/v1/conversations/{id}/items", many, Cancellation);
        Assert.Equal(5, (await stored.Content.ReadAsStringAsync(Cancellation)).Count(c => c == '\n'));
        StringContent tooLong = new($"{{\"role\":\"user\",\"content\":\"{new string('x', 3000)}\"}}\n", Encoding.UTF8, "application/x-ndjson");
        using HttpResponseMessage refused = await small.Http.PostAsync($"/v1/conversations/{id}/items", tooLong, Cancellation);
        await refused.AssertErrorAsync(413, "request_too_large");
        await small.AssertErrorAsync("POST", "/v1/responses", $"{{\"input\":\"{new string('x', 3000)}\"}}", 413, "request_too_large");
    }

    async Task<List<JsonElement>> FeedAsync(string id, string type, string body, string query)
    {
        StringContent content = new(body, Encoding.UTF8, type);
        using HttpResponseMessage response = await server.Http.PostAsync($"/v1/conversations/{id}/items{query}", content, Cancellation);
        Assert.Equal("application/x-ndjson", response.Content.Headers.ContentType?.MediaType);
        string text = await response.Content.ReadAsStringAsync(Cancellation);
        return [.. text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonSerializer.Deserialize<JsonElement>(l))];
    }
}
