using System.Text.Json;
using OpenAI.Conversations;
using OpenAI.Responses;

namespace LongCtx.Api.Tests;

/// <summary>/v1/conversations on the real host, through OpenAI's client where it has a call for it.</summary>
public sealed class ConversationTests(LiveServer server)
{
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Conversation_ThroughTheSdk_IsCreatedReadLabelledAndDeleted()
    {
        ConversationCreationOptions options = new() { Metadata = { ["topic"] = "whales" }, Items = { ResponseItem.CreateUserMessageItem("Call me Ishmael.") } };
        ConversationResource created = await server.Conversations.CreateConversationAsync(options, Cancellation);
        Assert.Equal("whales", created.Metadata["topic"]);

        ConversationResource labelled = await server.Conversations.UpdateConversationAsync(
            created.Id, new ConversationUpdateOptions(new Dictionary<string, string> { ["topic"] = "ships" }), Cancellation);
        ConversationResource read = await server.Conversations.GetConversationAsync(created.Id, Cancellation);
        Assert.Equal("ships", labelled.Metadata["topic"]);
        Assert.Equal((created.Id, "ships", created.CreatedAt), (read.Id, read.Metadata["topic"], read.CreatedAt));

        ConversationDeletionResult deleted = await server.Conversations.DeleteConversationAsync(created.Id, Cancellation);
        Assert.Equal((true, created.Id), (deleted.Deleted, deleted.ConversationId));
        await server.AssertErrorAsync("GET", $"/v1/conversations/{created.Id}", null, 410, "deleted");
        await server.AssertErrorAsync("DELETE", $"/v1/conversations/{created.Id}", null, 410, "deleted");
        await server.AssertErrorAsync("POST", $"/v1/conversations/{created.Id}", """{"metadata":{}}""", 410, "deleted");
        await server.AssertErrorAsync("GET", $"/v1/conversations/{created.Id}/items", null, 410, "deleted");
        await server.AssertErrorAsync("GET", $"/v1/conversations/{created.Id}/events", null, 410, "deleted");
        await server.AssertErrorAsync("GET", $"/v1/conversations/{created.Id}/export", null, 410, "deleted");
        await server.AssertErrorAsync("POST", $"/v1/conversations/{created.Id}/fork", null, 410, "deleted");
        await server.AssertErrorAsync("POST", $"/v1/conversations/{created.Id}/items", """{"items":[{"role":"user","content":"x"}]}""", 410, "deleted");
        await server.AssertErrorAsync("POST", "/v1/responses", $$"""{"conversation":"{{created.Id}}","input":"x"}""", 410, "deleted");
    }

    [Fact]
    public async Task Create_WithAModelAndItems_HasOpenAIsShapeAndItsDetails()
    {
        JsonElement body = await server.JsonAsync("POST", "/v1/conversations", """{"model":"pg19-7m","items":[{"role":"user","content":"hello"}]}""");
        Assert.Equal(["id", "object", "created_at", "metadata", "longctx"], body.EnumerateObject().Select(p => p.Name));
        Assert.Equal("conversation", body.GetProperty("object").GetString());
        JsonElement details = body.GetProperty("longctx");
        Assert.Equal("pg19-7m", details.GetProperty("model").GetString());
        Assert.Equal((1, 1, 0), (details.GetProperty("first_seq").GetInt32(), details.GetProperty("turns").GetInt32(), details.GetProperty("live_turn").GetInt32()));
        Assert.True(details.GetProperty("seq").GetInt64() > 0);
        Assert.True(details.GetProperty("tokens").GetInt64() > 0);
    }

    [Fact]
    public async Task Create_SameIdempotencyKey_IsTheSameConversation()
    {
        string key = Guid.NewGuid().ToString();
        const string Body = """{"items":[{"role":"user","content":"once"}]}""";
        JsonElement first = await server.JsonAsync("POST", "/v1/conversations", Body, key), second = await server.JsonAsync("POST", "/v1/conversations", Body, key);
        Assert.Equal(first.GetRawText(), second.GetRawText());
    }

    [Fact]
    public async Task List_PageByPage_HasEveryConversationOnceInOrder()
    {
        List<string> made = [];
        for (int i = 0; i < 5; i++) made.Add(await server.CreateAsync());
        List<string> ascending = await ListAsync("asc", 2), descending = await ListAsync("desc", 3);

        Assert.Equal(made, ascending.Where(made.Contains));
        Assert.Equal(made.AsEnumerable().Reverse(), descending.Where(made.Contains));
        Assert.Equal(ascending.Distinct(), ascending);
        Assert.Equal(ascending.Order(StringComparer.Ordinal), ascending);
    }

    async Task<List<string>> ListAsync(string order, int limit)
    {
        List<string> ids = [];
        JsonElement page;
        string after = "";
        do
        {
            page = await server.JsonAsync("GET", $"/v1/conversations?order={order}&limit={limit}{after}");
            JsonElement[] data = [.. page.GetProperty("data").EnumerateArray()];
            Assert.InRange(data.Length, 0, limit);
            ids.AddRange(data.Select(c => c.GetProperty("id").GetString()!));
            after = $"&after={page.GetProperty("last_id").GetString()}";
        }
        while (page.GetProperty("has_more").GetBoolean());
        return ids;
    }

    [Fact]
    public async Task Fork_AtASequence_HasTheEventsUpToItAndGoesItsOwnWay()
    {
        string id = await server.CreateAsync();
        JsonElement first = await server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"one\"");
        long at = (await server.JsonAsync("GET", $"/v1/conversations/{id}")).GetProperty("longctx").GetProperty("seq").GetInt64();
        await server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"two\"");

        string key = Guid.NewGuid().ToString();
        JsonElement fork = await server.JsonAsync("POST", $"/v1/conversations/{id}/fork", $$"""{"at":{{at}}}""", key);
        JsonElement again = await server.JsonAsync("POST", $"/v1/conversations/{id}/fork", $$"""{"at":{{at}}}""", key);
        JsonElement other = await server.JsonAsync("POST", $"/v1/conversations/{id}/fork", $$"""{"at":{{at}}}""");
        string forked = fork.GetProperty("id").GetString()!;
        Assert.Equal(forked, again.GetProperty("id").GetString());
        Assert.NotEqual(forked, other.GetProperty("id").GetString());
        Assert.Equal($"{id}@{at}", fork.GetProperty("longctx").GetProperty("forked_from").GetString());
        Assert.Equal(at, fork.GetProperty("longctx").GetProperty("seq").GetInt64());
        JsonElement items = await server.JsonAsync("GET", $"/v1/conversations/{forked}/items?order=asc");
        Assert.Equal(["one", LiveServer.TextOf(first)], items.GetProperty("data").EnumerateArray().Select(i => i.GetProperty("content")[0].GetProperty("text").GetString()));

        JsonElement whole = await server.JsonAsync("POST", $"/v1/conversations/{id}/fork");
        Assert.Equal(2, whole.GetProperty("longctx").GetProperty("turns").GetInt32());
        await server.AssertErrorAsync("POST", $"/v1/conversations/{id}/fork", """{"at":99999}""", 400, "invalid_value", "at");
        await server.AssertErrorAsync("POST", $"/v1/conversations/{id}/fork", """{"at":0}""", 400, "invalid_value", "at");
        await server.AssertErrorAsync("POST", $"/v1/conversations/{id}/fork", """{"at":"1"}""", 400, "invalid_type", "at");
    }

    [Theory]
    [InlineData("""{"metadata":"x"}""", "invalid_type", "metadata")]
    [InlineData("""{"metadata":{"a":1}}""", "invalid_type", "metadata.a")]
    [InlineData("""{"metadata":{"":"x"}}""", "invalid_value", "metadata")]
    [InlineData("""{"model":5}""", "invalid_type", "model")]
    [InlineData("""{"items":{}}""", "invalid_type", "items")]
    [InlineData("""{"items":["x"]}""", "invalid_type", "items[0]")]
    [InlineData("""{"items":[{"type":"item_reference","id":"msg_1"}]}""", "unsupported_parameter", "items[0].type")]
    [InlineData("""{"items":[{"role":"tool","content":"x"}]}""", "invalid_value", "items[0].role")]
    [InlineData("""{"items":[{"role":"user"}]}""", "missing_required_parameter", "items[0].content")]
    [InlineData("""{"items":[{"role":"user","content":[{"type":"input_image","image_url":"x"}]}]}""", "unsupported_parameter", "items[0].content[0].type")]
    [InlineData("""{"items":[{"role":"user","content":"\ud800"}]}""", "invalid_value", "items[0].content")]
    [InlineData("""{"colour":1}""", "unknown_parameter", "colour")]
    public async Task Create_BadRequest_IsRefusedByName(string body, string code, string parameter) =>
        await server.AssertErrorAsync("POST", "/v1/conversations", body, 400, code, parameter);

    [Fact]
    public async Task Create_TooMuch_IsRefused()
    {
        string pairs = string.Join(',', Enumerable.Range(0, 17).Select(i => $"\"k{i}\":\"v\""));
        await server.AssertErrorAsync("POST", "/v1/conversations", $"{{\"metadata\":{{{pairs}}}}}", 400, "invalid_value", "metadata");
        await server.AssertErrorAsync("POST", "/v1/conversations", $"{{\"metadata\":{{\"k\":\"{new string('x', 513)}\"}}}}", 400, "invalid_value", "metadata.k");
        string items = string.Join(',', Enumerable.Repeat("""{"role":"user","content":"x"}""", 21));
        await server.AssertErrorAsync("POST", "/v1/conversations", $"{{\"items\":[{items}]}}", 400, "invalid_value", "items");
        await server.AssertErrorAsync("POST", "/v1/conversations", """{"model":"gpt-5"}""", 404, "model_not_found", "model");
        await server.AssertErrorAsync("POST", "/v1/conversations", """{"model":"all-minilm-l6-v2"}""", 400, "invalid_value", "model");
    }

    [Theory]
    [InlineData("limit=0", "limit")]
    [InlineData("limit=101", "limit")]
    [InlineData("limit=x", "limit")]
    [InlineData("limit=1&limit=2", "limit")]
    [InlineData("order=up", "order")]
    [InlineData("after=5", "after")]
    public async Task List_BadQuery_IsRefusedByName(string query, string parameter) =>
        await server.AssertErrorAsync("GET", $"/v1/conversations?{query}", null, 400, "invalid_value", parameter);

    [Fact]
    public async Task List_UnknownParameter_IsRefusedByName() =>
        await server.AssertErrorAsync("GET", "/v1/conversations?before=x", null, 400, "unknown_parameter", "before");

    [Theory]
    [InlineData("conv_x")]
    [InlineData("5")]
    [InlineData("conv_0000000000000000000000000000000000000000")]
    [InlineData("conv_000000000000000000000000000000000000000g")]
    [InlineData("resp_0000000000000000000000000000000000000000_1")]
    public async Task Get_UnknownId_Is404(string id)
    {
        await server.AssertErrorAsync("GET", $"/v1/conversations/{id}", null, 404, "not_found");
        await server.AssertErrorAsync("GET", $"/v1/conversations/{id}/events", null, 404, "not_found");
    }
}
