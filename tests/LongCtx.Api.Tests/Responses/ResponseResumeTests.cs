using System.Text.Json;

namespace LongCtx.Api.Tests;

/// <summary>Streams of a response that break and go on.</summary>
public sealed class ResponseResumeTests(LiveServer server)
{
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Stream_ReadFromAnyPoint_IsTheSameToTheByte()
    {
        JsonElement response = await server.RespondAsync("\"input\":\"The whale\"", 20);
        string path = $"/v1/responses/{response.GetProperty("id").GetString()}?stream=true";
        using SseReader first = await server.OpenStreamAsync("GET", path);
        List<string> whole = await first.AllAsync();
        for (int n = 0; n < whole.Count; n += 3)
        {
            using SseReader byQuery = await server.OpenStreamAsync("GET", $"{path}&starting_after={n}");
            Assert.Equal(whole.Skip(n + 1), await byQuery.AllAsync());
            using SseReader byHeader = await server.OpenStreamAsync("GET", path, lastEventId: n.ToString());
            Assert.Equal(whole.Skip(n + 1), await byHeader.AllAsync());
        }
        Assert.Equal(response.GetRawText(), SseReader.Data(whole[^1]).GetProperty("response").GetRawText());
    }

    [Fact]
    public async Task Stream_ClientLeavesAndComesBack_MissesNothingAndTheTurnHasGoneOn()
    {
        List<SseEvent> seen = [];
        string? id = null;
        using (SseReader stream = await server.OpenStreamAsync("POST", "/v1/responses", LiveServer.Body("\"input\":\"Go on\",\"stream\":true", 300)))
        {
            while (seen.Count < 6) seen.Add((await stream.NextEventAsync())!);
            id = seen[0].Data.GetProperty("response").GetProperty("id").GetString();
        }
        do
        {
            int last = seen[^1].Data.GetProperty("sequence_number").GetInt32(), before = seen.Count;
            using SseReader stream = await server.OpenStreamAsync("GET", $"/v1/responses/{id}?stream=true&starting_after={last}");
            while (seen.Count < before + 7 && await stream.NextEventAsync() is { } e) seen.Add(e);
        }
        while (seen[^1].Name is not "response.incomplete");

        Assert.Equal(Enumerable.Range(0, seen.Count).Select(n => n.ToString()), seen.Select(e => e.Id));
        Assert.All(seen, e => Assert.Equal(e.Name, e.Data.GetProperty("type").GetString()));
        JsonElement final = seen[^1].Data.GetProperty("response");
        Assert.Equal(LiveServer.TextOf(final), string.Concat(seen.Where(e => e.Name == "response.output_text.delta").Select(e => e.Data.GetProperty("delta").GetString())));
        Assert.Equal(300, final.GetProperty("usage").GetProperty("output_tokens").GetInt32());
    }

    [Fact]
    public async Task Create_ClientThatWaitedIsGone_TheTurnIsAnsweredAllTheSame()
    {
        string id = await server.CreateAsync();
        using CancellationTokenSource leave = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        using HttpRequestMessage request = server.Request("POST", "/v1/responses", LiveServer.Body($"\"conversation\":\"{id}\",\"input\":\"Go on\"", 200));
        Task<HttpResponseMessage> waiting = server.Http.SendAsync(request, leave.Token);
        using SseReader events = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events");
        Assert.Equal("turn_accepted", (await events.NextEventAsync())!.Name);
        await leave.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);

        SseEvent e;
        do e = (await events.NextEventAsync())!;
        while (e.Name == "delta" || e.Name == "evicted");
        Assert.Equal("completed", e.Name);
        Assert.Equal(200, e.Data.GetProperty("usage").GetProperty("output_tokens").GetInt32());
    }

    [Fact]
    public async Task Stream_FromTheFuture_IsAnsweredByRewoundWithTheHead()
    {
        JsonElement response = await server.RespondAsync("\"input\":\"x\"", 2);
        string path = $"/v1/responses/{response.GetProperty("id").GetString()}?stream=true";
        using SseReader stream = await server.OpenStreamAsync("GET", path);
        int last = (await stream.AllEventsAsync())[^1].Data.GetProperty("sequence_number").GetInt32();
        using SseReader atEnd = await server.OpenStreamAsync("GET", $"{path}&starting_after={last}");
        Assert.Empty(await atEnd.AllEventsAsync());
        using HttpResponseMessage future = await server.SendAsync("GET", $"{path}&starting_after={last + 1}");
        JsonElement error = await future.AssertErrorAsync(409, "rewound", "starting_after");
        Assert.Contains($"newest sequence_number is {last}", error.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stream_ServerRestarts_GoesOnBehindTheLastNumber()
    {
        string directory = Directory.CreateTempSubdirectory("longctx-restart").FullName;
        List<SseEvent> seen = [];
        string id;
        await using (LiveServer first = await LiveServer.StartAsync(directory, o => o.ShutdownGrace = TimeSpan.FromMilliseconds(20)))
        {
            using SseReader stream = await first.OpenStreamAsync("POST", "/v1/responses", LiveServer.Body("\"input\":\"Go on\",\"stream\":true", 2000));
            while (seen.Count < 8) seen.Add((await stream.NextEventAsync())!);
            id = seen[0].Data.GetProperty("response").GetProperty("id").GetString()!;
            Task stopping = first.StopAsync();
            while (seen[^1].Name != "error" && await stream.NextEventAsync() is { } e) seen.Add(e);
            await stopping;
        }
        SseEvent error = seen[^1];
        seen.RemoveAt(seen.Count - 1);
        Assert.Equal(("error", "shutting_down"), (error.Name, error.Data.GetProperty("code").GetString()));
        Assert.Contains(id, error.Data.GetProperty("message").GetString(), StringComparison.Ordinal);

        await using (LiveServer second = await LiveServer.StartAsync(directory))
        {
            using SseReader stream = await second.OpenStreamAsync("GET", $"/v1/responses/{id}?stream=true&starting_after={error.Data.GetProperty("sequence_number").GetInt32()}");
            seen.AddRange(await stream.AllEventsAsync());
            JsonElement stored = await second.JsonAsync("GET", $"/v1/responses/{id}");
            Assert.Equal(2000, stored.GetProperty("usage").GetProperty("output_tokens").GetInt32());
            Assert.Equal(LiveServer.TextOf(stored), string.Concat(seen.Where(e => e.Name == "response.output_text.delta").Select(e => e.Data.GetProperty("delta").GetString())));
        }
        Assert.Equal(Enumerable.Range(0, seen.Count).Select(n => n.ToString()), seen.Select(e => e.Id));
        Directory.Delete(directory, recursive: true);
    }
}
