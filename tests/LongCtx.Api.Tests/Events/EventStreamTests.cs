using System.Text.Json;

namespace LongCtx.Api.Tests;

/// <summary>Journals as endless streams of server-sent events.</summary>
public sealed class EventStreamTests(LiveServer server)
{
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task One_FollowedFromTheBeginning_IsDenseAndResumesBehindAnyEvent()
    {
        string id = await server.CreateAsync("""{"items":[{"role":"user","content":"first"}]}""");
        using SseReader live = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events");
        JsonElement reply = await server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"go on\"", 20);
        List<SseEvent> seen = [];
        do seen.Add((await live.NextEventAsync())!);
        while (seen[^1].Name != "completed");

        Assert.Equal(Enumerable.Range(1, seen.Count).Select(n => n.ToString()), seen.Select(e => e.Id));
        Assert.All(seen, e => Assert.Equal((e.Name, e.Id), (e.Data.GetProperty("kind").GetString(), e.Data.GetProperty("seq").GetInt64().ToString())));
        Assert.Equal(["input_appended", "turn_accepted"], seen.Select(e => e.Name).Where(n => n != "evicted").Take(2));
        Assert.Equal(LiveServer.TextOf(reply), string.Concat(seen.Where(e => e.Data.TryGetProperty("text", out _)).Select(e => e.Data.GetProperty("text").GetString())));
        Assert.Equal("length", seen[^1].Data.GetProperty("reason").GetString());

        for (int after = 0; after < seen.Count; after++)
        {
            using SseReader byHeader = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events?after=0", lastEventId: after.ToString());
            using SseReader byQuery = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events?after={after}");
            foreach (SseReader reader in (SseReader[])[byHeader, byQuery]) Assert.Equal(seen[after].Data.GetRawText(), (await reader.NextEventAsync())!.Data.GetRawText());
        }
    }

    [Fact]
    public async Task One_BehindTheHead_IsToldRewoundAndGoesOnFromThere()
    {
        string id = await server.CreateAsync("""{"items":[{"role":"user","content":"first"}]}""");
        using SseReader stream = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events?after=50");
        SseEvent rewound = (await stream.NextEventAsync())!;
        long head = (await server.Host.GetConversationAsync("default", id, Cancellation)).Seq;
        Assert.Equal(("rewound", head.ToString()), (rewound.Name, rewound.Id));
        Assert.Equal($$"""{"conversation":"{{id}}","head":{{head}}}""", rewound.Data.GetRawText());
        await server.JsonAsync("POST", $"/v1/conversations/{id}/items", """{"items":[{"role":"user","content":"second"}]}""");
        Assert.Equal((head + 1).ToString(), (await stream.NextEventAsync())!.Id);
    }

    /// <summary>The same events as in the whole journal, whichever turns are asked for.</summary>
    [Fact]
    public async Task One_NewestTurns_BeginWithTheirFirstEventAndThoseBeforeATurnEndWithIt()
    {
        const int Turns = 6;
        string id = await server.CreateAsync("""{"items":[{"role":"user","content":"first"}]}""");
        for (int i = 1; i < Turns; i++) await server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"go on\"", 12);
        long head = (await server.Host.GetConversationAsync("default", id, Cancellation)).Seq;
        List<SseEvent> all = await ReadAsync(await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events"), head);
        long[] starts = [.. all.Where(e => e.Name is "turn_accepted" or "input_appended").Select(e => long.Parse(e.Id!))];
        Assert.Equal(Turns, starts.Length);

        for (int newest = 1; newest <= Turns + 1; newest++)
        {
            using SseReader stream = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events?turns={newest}");
            AssertSame(all.Skip((int)starts[Math.Max(0, Turns - newest)] - 1), await ReadAsync(stream, head));
        }
        for (int before = 1; before <= Turns; before++)
        {
            using SseReader stream = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events?turns=2&before={before}");
            long end = starts[before - 1], begin = starts[Math.Max(0, before - 3)];
            AssertSame(all.Where(e => long.Parse(e.Id!) >= begin && long.Parse(e.Id!) < end), await ReadAsync(stream, long.MaxValue));
        }

        // Whoever comes back has seen more than the first request asked for.
        using SseReader again = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events?turns=1", lastEventId: "2");
        Assert.Equal("3", (await again.NextEventAsync())!.Id);
        using SseReader live = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events?turns=1");
        Assert.Equal($"{starts[^1]}", (await live.NextEventAsync())!.Id);
        await server.JsonAsync("POST", $"/v1/conversations/{id}/items", """{"items":[{"role":"user","content":"last"}]}""");
        await ReadAsync(live, head + 1);
    }

    [Fact]
    public async Task One_NewestTurnsOfAnEmptyConversation_AreThoseThatCome()
    {
        string id = await server.CreateAsync();
        using SseReader stream = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events?turns=20");
        await server.JsonAsync("POST", $"/v1/conversations/{id}/items", """{"items":[{"role":"user","content":"first"}]}""");
        Assert.Equal("1", (await stream.NextEventAsync())!.Id);
        await server.AssertErrorAsync("GET", $"/v1/conversations/{id}/events?turns=20&before=2", null, 404, "not_found");
    }

    static void AssertSame(IEnumerable<SseEvent> expected, List<SseEvent> actual) =>
        Assert.Equal(expected.Select(e => e.Data.GetRawText()), actual.Select(e => e.Data.GetRawText()));

    /// <summary>Up to an event, or to the end of the stream.</summary>
    static async Task<List<SseEvent>> ReadAsync(SseReader stream, long last)
    {
        List<SseEvent> seen = [];
        while (await stream.NextEventAsync() is { } e)
        {
            seen.Add(e);
            if (long.Parse(e.Id!) >= last) break;
        }
        return seen;
    }

    [Fact]
    public async Task Many_OverOneConnection_AreEachDenseAndComeBackWhereTheyWere()
    {
        string[] ids = [await server.CreateAsync(), await server.CreateAsync(), await server.CreateAsync()];
        string Path(IEnumerable<int> after) => "/v1/events?" + string.Join('&', ids.Zip(after, (id, n) => $"conversation={id}:{n}"));
        await Task.WhenAll(ids.Select(id => server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"go on\"", 10)));
        long[] heads = await Task.WhenAll(ids.Select(async id => (await server.Host.GetConversationAsync("default", id, Cancellation)).Seq));

        List<(string Id, long Seq)> seen = [];
        using (SseReader all = await server.OpenStreamAsync("GET", Path([0, 0, 0])))
        {
            while (seen.Count < heads.Sum()) seen.Add(Cursor((await all.NextEventAsync())!));
        }
        for (int i = 0; i < ids.Length; i++) Assert.Equal(Enumerable.Range(1, (int)heads[i]).Select(n => (long)n), seen.Where(e => e.Id == ids[i]).Select(e => e.Seq));

        // The header is newer than the query for the one conversation that it names.
        using SseReader again = await server.OpenStreamAsync("GET", Path([1, (int)heads[1], (int)heads[2]]), lastEventId: $"{ids[0]}:2");
        Assert.Equal((ids[0], 3), Cursor((await again.NextEventAsync())!));
    }

    static (string Id, long Seq) Cursor(SseEvent e)
    {
        string[] parts = e.Id!.Split(':');
        return (parts[0], long.Parse(parts[1]));
    }

    [Fact]
    public async Task Many_OneIsDeleted_SaysSoAndTheOthersGoOn()
    {
        string gone = await server.CreateAsync(), stays = await server.CreateAsync();
        using SseReader stream = await server.OpenStreamAsync("GET", $"/v1/events?conversation={gone}&conversation={stays}:0");
        await server.JsonAsync("POST", $"/v1/conversations/{gone}/items", """{"items":[{"role":"user","content":"x"}]}""");
        Assert.Equal($"{gone}:1", (await stream.NextEventAsync())!.Id);
        await server.JsonAsync("DELETE", $"/v1/conversations/{gone}");
        SseEvent error;
        do error = (await stream.NextEventAsync())!;
        while (error.Name == "evicted");
        Assert.Equal(("error", gone, "deleted"), (error.Name, error.Data.GetProperty("conversation").GetString(), error.Data.GetProperty("error").GetProperty("code").GetString()));
        await server.JsonAsync("POST", $"/v1/conversations/{stays}/items", """{"items":[{"role":"user","content":"x"}]}""");
        Assert.Equal($"{stays}:1", (await stream.NextEventAsync())!.Id);
    }

    [Fact]
    public async Task One_NothingHappens_CommentsKeepItOpenAndStoppingEndsIt()
    {
        await using LiveServer own = await LiveServer.StartAsync(configure: o => o.Heartbeat = TimeSpan.FromMilliseconds(20));
        using SseReader stream = await own.OpenStreamAsync("GET", $"/v1/conversations/{await own.CreateAsync()}/events");
        Assert.StartsWith("retry: ", await stream.NextAsync(), StringComparison.Ordinal);
        Assert.Equal(": waiting", await stream.NextAsync());
        Assert.Equal(": waiting", await stream.NextAsync());
        Task stopping = own.StopAsync();
        SseEvent last = (await stream.NextEventAsync())!;
        Assert.Equal(("error", "shutting_down"), (last.Name, last.Data.GetProperty("error").GetProperty("code").GetString()));
        Assert.Null(await stream.NextEventAsync());
        await stopping;
    }

    [Theory]
    [InlineData("/v1/events", null, "conversation")]
    [InlineData("/v1/events?conversation=ID:x", null, "conversation")]
    [InlineData("/v1/events?conversation=ID:1:2", null, "conversation")]
    [InlineData("/v1/events?conversation=ID&conversation=ID:1", null, "conversation")]
    [InlineData("/v1/events?conversation=ID", "ID:x", "Last-Event-ID")]
    [InlineData("/v1/conversations/ID/events?after=-1", null, "after")]
    [InlineData("/v1/conversations/ID/events?after=x", null, "after")]
    [InlineData("/v1/conversations/ID/events?turns=0", null, "turns")]
    [InlineData("/v1/conversations/ID/events?turns=1001", null, "turns")]
    [InlineData("/v1/conversations/ID/events?turns=5&after=3", null, "turns")]
    [InlineData("/v1/conversations/ID/events?before=3", null, "before")]
    [InlineData("/v1/conversations/ID/events?turns=5&before=0", null, "before")]
    [InlineData("/v1/conversations/ID/events", "x", "Last-Event-ID")]
    public async Task Any_BadCursor_IsRefusedByName(string path, string? lastEventId, string parameter)
    {
        string id = await server.CreateAsync();
        HttpRequestMessage request = server.Request("GET", path.Replace("ID", id, StringComparison.Ordinal));
        if (lastEventId is not null) request.Headers.Add("Last-Event-ID", lastEventId.Replace("ID", id, StringComparison.Ordinal));
        using HttpResponseMessage response = await server.Http.SendAsync(request, Cancellation);
        await response.AssertErrorAsync(400, "invalid_value", parameter);
    }

    [Fact]
    public async Task Many_OneIsUnknown_Is404BeforeAnyEvent() => await server.AssertErrorAsync(
        "GET", $"/v1/events?conversation={await server.CreateAsync()}&conversation=conv_{new string('0', 40)}", null, 404, "not_found");
}
