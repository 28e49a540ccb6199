using System.Net;
using System.Text.Json;

namespace LongCtx.Api.Tests;

/// <summary>What belongs to one tenant is nobody else's business.</summary>
public sealed class TenantTests : IAsyncLifetime
{
    readonly (string Secret, ApiKey Key) alice = ApiKey.New("alice"), mallory = ApiKey.New("mallory");
    LiveServer server = null!;

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => server = await LiveServer.StartAsync(keys: [alice.Key with { MaxConversations = 4, MaxLiveTurns = 1 }, mallory.Key]);

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task EveryOperation_WithAForeignKeyOrNone_GivesNoData()
    {
        const string Secret = "xyzzy-plugh";
        JsonElement response = await server.JsonAsync("POST", "/v1/responses", LiveServer.Body($"\"input\":\"{Secret}\",\"metadata\":{{\"m\":\"{Secret}\"}}", 2), key: alice.Secret);
        string conversation = response.GetProperty("conversation").GetProperty("id").GetString()!;
        await server.JsonAsync("POST", $"/v1/conversations/{conversation}", $$$"""{"metadata":{"m":"{{{Secret}}}"}}""", key: alice.Secret);
        JsonElement document = await server.JsonAsync("GET", "/openapi.json", key: mallory.Secret);

        int walked = 0;
        foreach (JsonProperty path in document.GetProperty("paths").EnumerateObject())
        {
            string url = path.Name.Replace("{item}", $"msg_{conversation[5..]}_1_1", StringComparison.Ordinal)
                .Replace("{id}", path.Name.Contains("responses", StringComparison.Ordinal) ? response.GetProperty("id").GetString() : conversation, StringComparison.Ordinal);
            foreach (JsonProperty operation in path.Value.EnumerateObject())
            {
                string method = operation.Name.ToUpperInvariant(), name = operation.Value.GetProperty("operationId").GetString()!;
                string query = name == "streamEvents" ? $"?conversation={conversation}" : "";
                bool isOpen = !operation.Value.TryGetProperty("security", out _);
                foreach (string? key in (string?[])[null, "lck_wrong", mallory.Secret])
                {
                    using HttpRequestMessage request = server.Request(method, url + query, BodyOf(name, response), key);
                    using HttpResponseMessage answer = await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancellation);
                    string text = await answer.Content.ReadAsStringAsync(Cancellation);
                    Assert.DoesNotContain(Secret, text, StringComparison.Ordinal);
                    if (isOpen) continue;
                    if (key != mallory.Secret) Assert.True(answer.StatusCode == HttpStatusCode.Unauthorized, $"{method} {url} without a key: {answer.StatusCode}");
                    else if (url.Contains(conversation[5..], StringComparison.Ordinal) || query.Length > 0 || name == "createResponse")
                        Assert.True(answer.StatusCode is HttpStatusCode.NotFound || (name == "deleteConversationItem" && answer.StatusCode == HttpStatusCode.MethodNotAllowed), $"{method} {url} with a foreign key: {answer.StatusCode} {text}");
                }
                walked++;
            }
        }
        Assert.True(walked > 25, $"only {walked} operations");
        Assert.Equal("xyzzy-plugh", (await server.JsonAsync("GET", $"/v1/conversations/{conversation}", key: alice.Secret)).GetProperty("metadata").GetProperty("m").GetString());
    }

    /// <summary>Bodies that would do something if they were let.</summary>
    static string? BodyOf(string operation, JsonElement response) => operation switch
    {
        "createChatCompletion" => """{"messages":[{"role":"user","content":"hi"}],"max_tokens":1}""",
        "createEmbedding" => """{"input":"hi"}""",
        "updateConversation" => """{"metadata":{"m":"stolen"}}""",
        "createConversationItems" => """{"items":[{"role":"user","content":"injected"}]}""",
        "createResponse" => $$"""{"previous_response_id":"{{response.GetProperty("id").GetString()}}","input":"what did I say?"}""",
        "createConversation" or "forkConversation" or "importConversation" or "cancelResponse" => "{}",
        _ => null,
    };

    [Fact]
    public async Task Listing_OfAnotherTenant_IsEmpty()
    {
        string id = await server.CreateAsync(key: alice.Secret);
        Assert.Empty((await server.JsonAsync("GET", "/v1/conversations", key: mallory.Secret)).GetProperty("data").EnumerateArray());
        Assert.Contains(id, (await server.JsonAsync("GET", "/v1/conversations", key: alice.Secret)).GetRawText(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Creating_WithTheSameIdempotencyKey_IsEachTenantsOwn()
    {
        JsonElement hers = await server.JsonAsync("POST", "/v1/conversations", "{}", "same", alice.Secret), his = await server.JsonAsync("POST", "/v1/conversations", "{}", "same", mallory.Secret);
        Assert.NotEqual(hers.GetProperty("id").GetString(), his.GetProperty("id").GetString());
    }

    [Fact]
    public async Task Conversations_BeyondTheLimit_Are429UntilOneIsDeleted()
    {
        Task<HttpResponseMessage>[] together = [.. Enumerable.Range(0, 8).Select(i => SendKeyedAsync($"k{i}"))];
        HttpResponseMessage[] answers = await Task.WhenAll(together);
        Assert.Equal(4, answers.Count(a => a.StatusCode == HttpStatusCode.OK));
        HttpResponseMessage refused = answers.First(a => a.StatusCode != HttpStatusCode.OK);
        JsonElement error = await refused.AssertErrorAsync(429, "limit_reached");
        Assert.Contains("4 conversations of at most 4", error.GetProperty("message").GetString(), StringComparison.Ordinal);
        await server.AssertErrorAsync("POST", "/v1/responses", """{"input":"x"}""", 429, "limit_reached", key: alice.Secret);

        // What is there already needs no place.
        int known = Array.FindIndex(answers, a => a.StatusCode == HttpStatusCode.OK);
        string id = (await ApiServer.JsonAsync(answers[known])).GetProperty("id").GetString()!;
        using HttpResponseMessage again = await SendKeyedAsync($"k{known}");
        Assert.Equal(id, (await ApiServer.JsonAsync(again)).GetProperty("id").GetString());
        await server.AssertErrorAsync("POST", $"/v1/conversations/{id}/fork", null, 429, "limit_reached", key: alice.Secret);

        await server.CreateAsync(key: mallory.Secret);
        await server.JsonAsync("DELETE", $"/v1/conversations/{id}", key: alice.Secret);
        await server.CreateAsync(key: alice.Secret);
        foreach (HttpResponseMessage answer in answers) answer.Dispose();

        Task<HttpResponseMessage> SendKeyedAsync(string key)
        {
            HttpRequestMessage request = server.Request("POST", "/v1/conversations", "{}", alice.Secret);
            request.Headers.Add("Idempotency-Key", key);
            return server.Http.SendAsync(request, Cancellation);
        }
    }

    [Fact]
    public async Task LiveTurns_BeyondTheLimit_Are429UntilOneEnds()
    {
        string first = await server.CreateAsync(key: alice.Secret), second = await server.CreateAsync(key: alice.Secret);
        string endless = $"{{\"background\":true,{LiveServer.NeverEnd},\"input\":\"x\",\"conversation\":\"{first}\"}}";
        JsonElement live = await server.JsonAsync("POST", "/v1/responses", endless, "turn", alice.Secret);
        await server.AssertErrorAsync("POST", "/v1/responses", $$"""{"input":"x","conversation":"{{second}}"}""", 429, "limit_reached", key: alice.Secret);
        Assert.Equal(live.GetProperty("id").GetString(), (await server.JsonAsync("POST", "/v1/responses", endless, "turn", alice.Secret)).GetProperty("id").GetString());
        await server.JsonAsync("POST", $"/v1/responses/{live.GetProperty("id").GetString()}/cancel", key: alice.Secret);
        JsonElement next = await server.JsonAsync("POST", "/v1/responses", LiveServer.Body($"\"input\":\"x\",\"conversation\":\"{second}\"", 1), key: alice.Secret);
        Assert.Equal(second, next.GetProperty("conversation").GetProperty("id").GetString());
    }
}
