using System.ClientModel.Primitives;
using System.Text.Json;

namespace LongCtx.Api.Tests;

/// <summary>/v1/conversations/{id}/items</summary>
public sealed class ItemTests(LiveServer server)
{
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Append_SeveralItems_AreStoredWithIdsThatCanBeRead()
    {
        string id = await server.CreateAsync();
        JsonElement added = await server.JsonAsync("POST", $"/v1/conversations/{id}/items", """
            {"items":[{"type":"message","role":"system","content":"Be brief."},
                      {"role":"user","content":[{"type":"input_text","text":"one "},{"type":"input_text","text":"two"}]},
                      {"role":"assistant","content":[{"type":"output_text","text":"three","annotations":[]}],"id":"msg_x","status":"completed"}]}
            """);
        JsonElement[] data = [.. added.GetProperty("data").EnumerateArray()];
        Assert.Equal(["Be brief.", "one two", "three"], data.Select(TextOf));
        Assert.Equal(["system", "user", "assistant"], data.Select(i => i.GetProperty("role").GetString()));
        Assert.Equal(Enumerable.Range(1, 3).Select(n => $"msg_{id[5..]}_1_{n}"), data.Select(IdOf));
        Assert.Equal("""{"seq":1,"turn":1,"new":true}""", added.GetProperty("longctx").GetRawText());
        foreach (JsonElement item in data)
            Assert.Equal(item.GetRawText(), (await server.JsonAsync("GET", $"/v1/conversations/{id}/items/{IdOf(item)}")).GetRawText());
    }

    [Fact]
    public async Task List_InPages_HasEveryItemOnceInBothOrders()
    {
        string id = await server.CreateAsync();
        List<string> said = [];
        for (int i = 0; i < 3; i++)
        {
            await server.JsonAsync("POST", $"/v1/conversations/{id}/items", $$"""{"items":[{"role":"user","content":"a{{i}}"},{"role":"user","content":"b{{i}}"}]}""");
            JsonElement reply = await server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"c{i}\"", 3);
            said.AddRange([$"a{i}", $"b{i}", $"c{i}", LiveServer.TextOf(reply)]);
        }
        for (int limit = 1; limit <= 13; limit += 3)
        {
            Assert.Equal(said, await ListAsync(id, "asc", limit));
            Assert.Equal(said.AsEnumerable().Reverse(), await ListAsync(id, "desc", limit));
        }

        List<string> throughSdk = [];
        await foreach (System.ClientModel.ClientResult page in server.Conversations.GetConversationItemsAsync(id, 5, "asc", null, null, new RequestOptions { CancellationToken = Cancellation }).GetRawPagesAsync())
        {
            using JsonDocument document = JsonDocument.Parse(page.GetRawResponse().Content);
            throughSdk.AddRange(document.RootElement.GetProperty("data").EnumerateArray().Select(TextOf));
        }
        Assert.Equal(said, throughSdk);
    }

    async Task<List<string>> ListAsync(string id, string order, int limit)
    {
        List<string> texts = [];
        JsonElement page;
        string after = "";
        do
        {
            page = await server.JsonAsync("GET", $"/v1/conversations/{id}/items?order={order}&limit={limit}{after}");
            texts.AddRange(page.GetProperty("data").EnumerateArray().Select(TextOf));
            after = $"&after={page.GetProperty("last_id").GetString()}";
        }
        while (page.GetProperty("has_more").GetBoolean());
        return texts;
    }

    [Fact]
    public async Task Append_SentTwiceWithAKeyOrANumber_IsAppendedOnce()
    {
        string id = await server.CreateAsync(), path = $"/v1/conversations/{id}/items", key = Guid.NewGuid().ToString();
        const string Hello = """{"items":[{"role":"user","content":"hello"}]}""";
        JsonElement first = await server.JsonAsync("POST", path, Hello, key), second = await server.JsonAsync("POST", path, Hello, key);
        Assert.Equal(first.GetProperty("data").GetRawText(), second.GetProperty("data").GetRawText());
        Assert.False(second.GetProperty("longctx").GetProperty("new").GetBoolean());

        const string Piece = """{"items":[{"role":"user","content":"piece"}],"producer":"p","number":1}""";
        Assert.True((await server.JsonAsync("POST", path, Piece)).GetProperty("longctx").GetProperty("new").GetBoolean());
        Assert.False((await server.JsonAsync("POST", path, Piece)).GetProperty("longctx").GetProperty("new").GetBoolean());
        await server.AssertErrorAsync("POST", path, Piece.Replace("piece", "other", StringComparison.Ordinal), 409, "conflict");
        await server.AssertErrorAsync("POST", path, Piece.Replace("\"number\":1", "\"number\":5", StringComparison.Ordinal), 409, "conflict");
        Assert.Equal(2, (await server.JsonAsync("GET", path)).GetProperty("data").GetArrayLength());
    }

    [Fact]
    public async Task Delete_AnItem_Is405NamingFork()
    {
        string id = await server.CreateAsync("""{"items":[{"role":"user","content":"x"}]}""");
        using HttpResponseMessage response = await server.SendAsync("DELETE", $"/v1/conversations/{id}/items/msg_{id[5..]}_1_1");
        JsonElement error = await response.AssertErrorAsync(405, "method_not_allowed");
        Assert.Contains("/fork", error.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Single((await server.JsonAsync("GET", $"/v1/conversations/{id}/items")).GetProperty("data").EnumerateArray());
    }

    [Fact]
    public async Task Get_ItemThatIsNotThere_Is404()
    {
        string id = await server.CreateAsync("""{"items":[{"role":"user","content":"x"}]}"""), other = await server.CreateAsync();
        foreach (string item in (string[])["x", $"msg_{id[5..]}_1_0", $"msg_{id[5..]}_1_2", $"msg_{id[5..]}_2_1", $"msg_{id[5..]}_1", $"msg_{id[5..]}_01_1", $"msg_{id[5..]}_1_99999999999"])
            await server.AssertErrorAsync("GET", $"/v1/conversations/{id}/items/{item}", null, 404, "not_found");
        await server.AssertErrorAsync("GET", $"/v1/conversations/{other}/items/msg_{id[5..]}_1_1", null, 404, "not_found");
        await server.AssertErrorAsync("GET", $"/v1/conversations/{other}/items?after=msg_{id[5..]}_1_1", null, 400, "invalid_value", "after");
    }

    [Theory]
    [InlineData("""{}""", "missing_required_parameter", "items")]
    [InlineData("""{"items":[]}""", "invalid_value", "items")]
    [InlineData("""{"items":"x"}""", "invalid_type", "items")]
    [InlineData("""{"items":[{"role":"user","content":"x"}],"number":1}""", "invalid_value", "number")]
    [InlineData("""{"items":[{"role":"user","content":"x"}],"producer":"p"}""", "invalid_value", "producer")]
    [InlineData("""{"items":[{"role":"user","content":"x"}],"producer":"","number":1}""", "invalid_value", "producer")]
    [InlineData("""{"items":[{"role":"user","content":"x"}],"producer":"p","number":0}""", "invalid_value", "number")]
    [InlineData("""{"items":[{"role":"user","content":"x"}],"wait":"yes"}""", "invalid_type", "wait")]
    public async Task Append_BadRequest_IsRefusedByName(string body, string code, string parameter) =>
        await server.AssertErrorAsync("POST", $"/v1/conversations/{await server.CreateAsync()}/items", body, 400, code, parameter);

    static string TextOf(JsonElement item) => item.GetProperty("content")[0].GetProperty("text").GetString()!;

    static string IdOf(JsonElement item) => item.GetProperty("id").GetString()!;
}
