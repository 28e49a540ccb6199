using System.IO.Compression;
using System.Text;
using System.Text.Json;
using LongCtx.Client.Tests;

namespace LongCtx.Api.Tests;

/// <summary>/v1/conversations/{id}/adapter</summary>
public sealed class AdapterTests(LiveServer server)
{
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Adapter_NeverAskedFor_IsTheBaseModel()
    {
        string id = await server.CreateAsync();
        JsonElement body = await server.JsonAsync("GET", $"/v1/conversations/{id}/adapter");
        Assert.Equal(["object", "conversation", "enabled", "settings", "version", "digest", "first_token", "trained_to", "gain_percent", "history"], body.EnumerateObject().Select(p => p.Name));
        Assert.Equal(("conversation.adapter", id, false, 0), (Text(body, "object"), Text(body, "conversation"), body.GetProperty("enabled").GetBoolean(), body.GetProperty("version").GetInt32()));
        Assert.Equal(JsonValueKind.Null, body.GetProperty("settings").ValueKind);
        Assert.Equal(JsonValueKind.Null, body.GetProperty("gain_percent").ValueKind);
        await server.AssertErrorAsync("POST", $"/v1/conversations/{id}/adapter/reset", null, 404, "not_found");
        await server.AssertErrorAsync("DELETE", $"/v1/conversations/{id}/adapter", null, 404, "not_found");
        await server.AssertErrorAsync("GET", $"/v1/conversations/{id}/adapter/export", null, 404, "not_found");
    }

    [Fact]
    public async Task Adapter_Configured_HasWhatWasGivenAndTheDefaults()
    {
        string id = await server.CreateAsync();
        JsonElement byDefault = await server.JsonAsync("POST", $"/v1/conversations/{id}/adapter");
        Assert.Equal(new AdapterSettings().Targets, Strings(byDefault.GetProperty("settings").GetProperty("targets")));
        Assert.True(byDefault.GetProperty("enabled").GetBoolean());

        const string Given = """
            {"rank":4,"alpha":8.5,"targets":["q","down"],"learning_rate":0.0005,"epochs":3,"chunk":64,"prefix":0,"mode":"cached","start_after":4000000000,
             "guard":false,"dropout":0.05,"weight_decay":0.1,"gradient_clip":0.5,"warm_up":4,"max_stale":2}
            """;
        JsonElement settings = (await server.JsonAsync("POST", $"/v1/conversations/{id}/adapter", Given)).GetProperty("settings");
        using JsonDocument given = JsonDocument.Parse(Given);
        foreach (JsonProperty field in given.RootElement.EnumerateObject()) Assert.True(JsonElement.DeepEquals(field.Value, settings.GetProperty(field.Name)), $"{field.Name}: {settings}");
        Assert.Equal(given.RootElement.EnumerateObject().Count(), settings.EnumerateObject().Count());

        JsonElement partly = (await server.JsonAsync("POST", $"/v1/conversations/{id}/adapter", """{"chunk":128}""")).GetProperty("settings");
        Assert.Equal((128, 16, 0.001), (partly.GetProperty("chunk").GetInt32(), partly.GetProperty("rank").GetInt32(), partly.GetProperty("learning_rate").GetDouble()));
        Assert.True(JsonElement.DeepEquals(partly, (await server.JsonAsync("GET", $"/v1/conversations/{id}/adapter")).GetProperty("settings")));
    }

    [Fact]
    public async Task Adapter_ResetAndDisabled_SaysSoAndTheJournalToo()
    {
        string id = await server.CreateAsync("""{"adapter":{"rank":2},"items":[{"role":"user","content":"hello"}]}""");
        JsonElement made = await server.JsonAsync("GET", $"/v1/conversations/{id}/adapter");
        Assert.Equal((true, 2), (made.GetProperty("enabled").GetBoolean(), made.GetProperty("settings").GetProperty("rank").GetInt32()));
        JsonElement reset = await server.JsonAsync("POST", $"/v1/conversations/{id}/adapter/reset", "{}");
        Assert.True(reset.GetProperty("enabled").GetBoolean());
        JsonElement disabled = await server.JsonAsync("DELETE", $"/v1/conversations/{id}/adapter");
        Assert.Equal((false, 0, ""), (disabled.GetProperty("enabled").GetBoolean(), disabled.GetProperty("version").GetInt32(), Text(disabled, "digest")));
        await server.AssertErrorAsync("POST", $"/v1/conversations/{id}/adapter/reset", """{"now":true}""", 400, "unknown_parameter", "now");

        List<SseEvent> events = await ReadAsync(id, 3);
        Assert.Equal(["adapter_configured", "adapter_updated", "adapter_updated"], events.Select(e => e.Name));
        Assert.Equal(2, events[0].Data.GetProperty("settings").GetProperty("rank").GetInt32());
        Assert.Equal([false, true], events[1..].Select(e => e.Data.GetProperty("is_disabled").GetBoolean()));
    }

    [Fact]
    public async Task Adapter_OfAJournalThatLearned_ShowsItsHistoryAndItsEvents()
    {
        string id = await ImportAsync();
        JsonElement body = await server.JsonAsync("GET", $"/v1/conversations/{id}/adapter");
        JsonElement[] history = [.. body.GetProperty("history").EnumerateArray()];
        Assert.Equal([1, 2, 0, 3], history.Select(u => u.GetProperty("version").GetInt32()));
        Assert.Equal(["from", "to", "version", "loss", "base_loss", "seconds", "held_out_before", "held_out_after", "rejected"], history[2].EnumerateObject().Select(p => p.Name));
        Assert.Equal(LearnedJournal.Reason, Text(history[2], "rejected"));
        Assert.Equal(JsonValueKind.Null, history[3].GetProperty("rejected").ValueKind);
        Assert.Equal([3.2, 3.0, 2.8], history[3].GetProperty("loss").EnumerateArray().Select(l => l.GetDouble()));
        Assert.Equal(3.7, history[3].GetProperty("base_loss").GetDouble());
        // Four chunks of the same length: the gains of their first losses, 0 + 0.2 + 0.3 + 0.5, on average.
        Assert.Equal(100 * (1 - Math.Exp(-0.25)), body.GetProperty("gain_percent").GetDouble(), 1e-9);
        Assert.Equal((0, 1024), (body.GetProperty("version").GetInt32(), body.GetProperty("trained_to").GetInt64()));

        List<SseEvent> events = await ReadAsync(id, 6);
        Assert.Equal(["adapter_configured", "adapter_updated", "adapter_updated", "adapter_rejected", "adapter_updated", "adapter_updated"], events.Select(e => e.Name));
        Assert.Equal(LearnedJournal.Reason, Text(events[3].Data.GetProperty("update"), "rejected"));
        Assert.Equal((3, "d3", 1024), (events[4].Data.GetProperty("version").GetInt32(), Text(events[4].Data, "digest"), events[4].Data.GetProperty("first_token").GetInt64()));
    }

    [Theory]
    [InlineData("""{"rank":0}""", "invalid_value", "rank")]
    [InlineData("""{"rank":257}""", "invalid_value", "rank")]
    [InlineData("""{"rank":1.5}""", "invalid_value", "rank")]
    [InlineData("""{"rank":"8"}""", "invalid_type", "rank")]
    [InlineData("""{"alpha":0}""", "invalid_value", "alpha")]
    [InlineData("""{"alpha":1e999}""", "invalid_value", "alpha")]
    [InlineData("""{"targets":"q,v"}""", "invalid_type", "targets")]
    [InlineData("""{"targets":[]}""", "invalid_value", "targets")]
    [InlineData("""{"targets":["query"]}""", "invalid_value", "targets")]
    [InlineData("""{"targets":["q","q"]}""", "invalid_value", "targets")]
    [InlineData("""{"targets":["q",5]}""", "invalid_type", "targets[1]")]
    [InlineData("""{"learning_rate":0}""", "invalid_value", "learning_rate")]
    [InlineData("""{"epochs":17}""", "invalid_value", "epochs")]
    [InlineData("""{"chunk":15}""", "invalid_value", "chunk")]
    [InlineData("""{"prefix":-1}""", "invalid_value", "prefix")]
    [InlineData("""{"mode":"Cached"}""", "invalid_value", "mode")]
    [InlineData("""{"start_after":-1}""", "invalid_value", "start_after")]
    [InlineData("""{"guard":1}""", "invalid_type", "guard")]
    [InlineData("""{"dropout":1}""", "invalid_value", "dropout")]
    [InlineData("""{"weight_decay":2}""", "invalid_value", "weight_decay")]
    [InlineData("""{"gradient_clip":-1}""", "invalid_value", "gradient_clip")]
    [InlineData("""{"warm_up":0}""", "invalid_value", "warm_up")]
    [InlineData("""{"max_stale":0}""", "invalid_value", "max_stale")]
    [InlineData("""{"lr":0.1}""", "unknown_parameter", "lr")]
    public async Task Adapter_BadSetting_IsRefusedByItsNameHereAndThere(string settings, string code, string parameter)
    {
        string id = await server.CreateAsync();
        await server.AssertErrorAsync("POST", $"/v1/conversations/{id}/adapter", settings, 400, code, parameter);
        await server.AssertErrorAsync("POST", "/v1/conversations", $$"""{"adapter":{{settings}}}""", 400, code, "adapter." + parameter);
    }

    [Fact]
    public async Task Adapter_OfNoConversation_IsRefused()
    {
        await server.AssertErrorAsync("POST", "/v1/conversations", """{"adapter":true}""", 400, "invalid_type", "adapter");
        string deleted = await server.CreateAsync();
        await server.JsonAsync("DELETE", $"/v1/conversations/{deleted}");
        foreach ((string method, string below) in ((string, string)[])[("GET", ""), ("POST", ""), ("DELETE", ""), ("POST", "/reset"), ("GET", "/export")])
        {
            await server.AssertErrorAsync(method, $"/v1/conversations/{deleted}/adapter{below}", null, 410, "deleted");
            await server.AssertErrorAsync(method, $"/v1/conversations/conv_x/adapter{below}", null, 404, "not_found");
        }
    }

    [Fact]
    public async Task Export_AnyZipReader_FindsAPeftDirectory()
    {
        await using ApiServer learned = await ApiServer.StartAsync(LearnedHost.Around(server.Host));
        string id = await server.CreateAsync();
        using HttpResponseMessage response = await learned.Http.GetAsync($"/v1/conversations/{id}/adapter/export", Cancellation);
        Assert.Equal(200, (int)response.StatusCode);
        Assert.Equal("application/zip", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal($"{id}-adapter-3.zip", response.Content.Headers.ContentDisposition?.FileName?.Trim('"'));
        Assert.Equal(["3"], response.Headers.GetValues("x-longctx-adapter-version"));
        byte[] bytes = await response.Content.ReadAsByteArrayAsync(Cancellation);
        using (ZipArchive zip = new(new MemoryStream(bytes)))
        {
            Assert.Equal(["adapter_config.json", "adapter_model.safetensors"], zip.Entries.Select(e => e.FullName));
            Assert.Equal(LearnedHost.Export.Config, await ContentAsync(zip.Entries[0]));
            Assert.Equal(LearnedHost.Export.Weights, await ContentAsync(zip.Entries[1]));
        }
        Assert.Equal(bytes, await learned.Http.GetByteArrayAsync($"/v1/conversations/{id}/adapter/export", Cancellation));
    }

    static async Task<ReadOnlyMemory<byte>> ContentAsync(ZipArchiveEntry entry)
    {
        await using Stream file = await entry.OpenAsync(Cancellation);
        using MemoryStream content = new();
        await file.CopyToAsync(content, Cancellation);
        return content.ToArray();
    }

    async Task<string> ImportAsync()
    {
        string id = await server.CreateAsync("""{"items":[{"role":"user","content":"It was a dark and stormy night."}]}""");
        string[] lines = (await server.Http.GetStringAsync($"/v1/conversations/{id}/export", Cancellation)).TrimEnd('\n').Split('\n');
        StringContent content = new(string.Join('\n', LearnedJournal.Learn(lines)), Encoding.UTF8);
        content.Headers.ContentType = new("application/jsonl");
        using HttpResponseMessage response = await server.Http.PostAsync("/v1/conversations/import", content, Cancellation);
        JsonElement imported = await ApiServer.JsonAsync(response);
        Assert.True(response.IsSuccessStatusCode, imported.GetRawText());
        return Text(imported, "id");
    }

    /// <summary>The first events about the adapter.</summary>
    async Task<List<SseEvent>> ReadAsync(string id, int count)
    {
        using SseReader stream = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events");
        List<SseEvent> events = [];
        while (events.Count < count)
        {
            SseEvent next = (await stream.NextEventAsync())!;
            if (next.Name!.StartsWith("adapter_", StringComparison.Ordinal)) events.Add(next);
        }
        return events;
    }

    static string Text(JsonElement element, string field) => element.GetProperty(field).GetString()!;

    static IEnumerable<string?> Strings(JsonElement array) => array.EnumerateArray().Select(e => e.GetString());
}
