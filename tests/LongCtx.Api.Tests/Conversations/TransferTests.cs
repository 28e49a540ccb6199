using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace LongCtx.Api.Tests;

/// <summary>Export and import.</summary>
public sealed class TransferTests(LiveServer server)
{
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Export_Imported_IsTheSameConversationAndGoesOnAlike()
    {
        string id = await server.CreateAsync("""{"metadata":{"a":"b"},"items":[{"role":"user","content":"Call me – 👍🏽 – Ishmael."}]}""");
        await server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"go on\"", 40);
        string lines = await ExportAsync(id);
        JsonElement imported = await ImportAsync(lines);
        string copy = imported.GetProperty("id").GetString()!;

        Assert.NotEqual(id, copy);
        Assert.Equal("""{"a":"b"}""", imported.GetProperty("metadata").GetRawText());
        Assert.Equal(lines.Split('\n').Skip(1), (await ExportAsync(copy)).Split('\n').Skip(1), EventsAreEqual);
        JsonElement here = await server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"and then\"", 20);
        JsonElement there = await server.RespondAsync($"\"conversation\":\"{copy}\",\"input\":\"and then\"", 20);
        Assert.Equal(LiveServer.TextOf(here), LiveServer.TextOf(there));
    }

    /// <summary>The epoch is the owner's, not the conversation's.</summary>
    static bool EventsAreEqual(string a, string b) => Regularize(a) == Regularize(b);

    static string Regularize(string line) => System.Text.RegularExpressions.Regex.Replace(line, "\"epoch\":[0-9]+", "\"epoch\":0");

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("not json")]
    [InlineData("{\"format\":\"other\"}")]
    public async Task Import_NoExport_IsRefusedAndLeavesNothing(string body)
    {
        using HttpResponseMessage response = await PostAsync(body);
        Assert.Equal(System.Net.HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal("invalid_value", (await ApiServer.JsonAsync(response)).GetProperty("error").GetProperty("code").GetString());
    }

    [Fact]
    public async Task Import_CutOrDamagedOrNotUtf8_IsRefused()
    {
        string id = await server.CreateAsync("""{"items":[{"role":"user","content":"x"}]}""");
        await server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"go on\"", 4);
        string[] lines = (await ExportAsync(id)).TrimEnd('\n').Split('\n');
        foreach (string damaged in (string[])[string.Join('\n', lines[..^1]), string.Join('\n', [lines[0], .. lines[2..]]), string.Join('\n', [.. lines[..^1], "{"])])
        {
            using HttpResponseMessage response = await PostAsync(damaged);
            await response.AssertErrorAsync(400, "invalid_value", "body");
        }
        ByteArrayContent content = new([.. Encoding.UTF8.GetBytes(lines[0] + "\n"), 0xFF, 0x0A]);
        content.Headers.ContentType = new("application/jsonl");
        using HttpResponseMessage notUtf8 = await server.Http.PostAsync("/v1/conversations/import", content, Cancellation);
        await notUtf8.AssertErrorAsync(400, "invalid_utf8");
    }

    async Task<string> ExportAsync(string id)
    {
        using HttpResponseMessage response = await server.SendAsync("GET", $"/v1/conversations/{id}/export");
        Assert.Equal("application/jsonl", response.Content.Headers.ContentType?.MediaType);
        return await response.Content.ReadAsStringAsync(Cancellation);
    }

    async Task<JsonElement> ImportAsync(string lines)
    {
        using HttpResponseMessage response = await PostAsync(lines);
        JsonElement body = await ApiServer.JsonAsync(response);
        Assert.True(response.IsSuccessStatusCode, body.GetRawText());
        return body;
    }

    async Task<HttpResponseMessage> PostAsync(string lines)
    {
        StringContent content = new(lines, Encoding.UTF8);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/jsonl");
        return await server.Http.PostAsync("/v1/conversations/import", content, Cancellation);
    }
}
