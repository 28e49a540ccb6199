using System.Text.Json;
using LongCtx.Conversations.Local;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Models;
using LongCtx.Server;

namespace LongCtx.Api.Tests;

/// <summary>Adapters of a running server: brought, named by requests, listed and taken over HTTP.</summary>
public sealed class AdapterEndpointTests : IAsyncLifetime
{
    readonly string _directory = Directory.CreateTempSubdirectory("longctx-adapter").FullName;
    LocalConversationHost _host = null!;
    ApiServer _server = null!;

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        using (ModelSource source = ModelSource.Open(ModelCatalog.Default().Resolve("pg19-7m")))
        {
            var random = new Random(1);
            var weights = new LoraWeights(new(source.Decoder!, 4, 4, LoraTargets.All));
            for (int layer = 0; layer < source.Decoder!.LayerCount; layer++)
                foreach (LoraTargets target in weights.Layout.PresentTargets)
                {
                    foreach (ref float x in weights.A(layer, target)) x = random.NextSingle() - 0.5f;
                    foreach (ref float x in weights.B(layer, target)) x = random.NextSingle() - 0.5f;
                }

            PeftDirectory.Write(weights, _directory, "pg19-7m");
        }

        _host = await LocalHost.OpenAsync(["pg19-7m"], new(), 2, adapters: [$"given={_directory}"]);
        _server = await ApiServer.StartAsync(_host);
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        await _host.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    async Task<JsonElement> GetAsync(string path) => await ApiServer.JsonAsync(await _server.Http.GetAsync(path, Cancellation));

    static string[] Ids(JsonElement list) => [.. list.GetProperty("data").EnumerateArray().Select(m => m.GetProperty("id").GetString()!)];

    async Task<string> SayAsync(string model)
    {
        using HttpResponseMessage response = await _server.PostAsync("/v1/chat/completions",
            $$"""{"model":"{{model}}","messages":[{"role":"user","content":"The sea"}],"max_tokens":16,"temperature":0,{{LiveServer.NeverEnd}}}""");
        JsonElement body = await ApiServer.JsonAsync(response);
        Assert.True(response.IsSuccessStatusCode, body.GetRawText());
        Assert.Equal(model, body.GetProperty("model").GetString());
        return body.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!;
    }

    [Fact]
    public async Task Adapter_IsBroughtNamedListedAndTaken()
    {
        JsonElement loaded = await ApiServer.JsonAsync(await _server.PostAsync("/v1/adapters", JsonSerializer.Serialize(new { name = "mine", path = _directory })));
        Assert.Equal(("pg19-7m:mine", "pg19-7m"), (loaded.GetProperty("id").GetString(), loaded.GetProperty("parent").GetString()));
        Assert.Equal(["pg19-7m:given", "pg19-7m:mine"], Ids(await GetAsync("/v1/adapters")));
        Assert.Equal(["pg19-7m", "pg19-7m:given", "pg19-7m:mine"], Ids(await GetAsync("/v1/models")));
        Assert.Equal("pg19-7m", (await GetAsync("/v1/models/pg19-7m:mine")).GetProperty("parent").GetString());
        Assert.False((await GetAsync("/v1/models/pg19-7m")).TryGetProperty("parent", out _));

        string plain = await SayAsync("pg19-7m"), adapted = await SayAsync("pg19-7m:mine");
        Assert.NotEqual(plain, adapted);
        Assert.Equal(adapted, await SayAsync("pg19-7m:given"));

        using HttpResponseMessage deleted = await _server.Http.DeleteAsync("/v1/adapters/pg19-7m:mine", Cancellation);
        Assert.True((await ApiServer.JsonAsync(deleted)).GetProperty("deleted").GetBoolean());
        Assert.Equal(["pg19-7m", "pg19-7m:given"], Ids(await GetAsync("/v1/models")));
        using HttpResponseMessage again = await _server.Http.DeleteAsync("/v1/adapters/pg19-7m:mine", Cancellation);
        Assert.Equal(404, (int)again.StatusCode);
    }

    [Theory]
    [InlineData("""{"name":"x"}""", 400, "path")]
    [InlineData("""{"name":"x","path":"/nowhere"}""", 400, "adapter")]
    [InlineData("""{"name":"x y","path":"/nowhere"}""", 400, "name")]
    [InlineData("""{"name":"x","path":"/nowhere","model":"gpt"}""", 404, "model")]
    [InlineData("""{"name":"x","path":"/nowhere","rank":3}""", 400, "rank")]
    public async Task Adapter_ThatCannotBe_IsRefused(string body, int status, string parameter)
    {
        using HttpResponseMessage response = await _server.PostAsync("/v1/adapters", body);
        JsonElement error = (await ApiServer.JsonAsync(response)).GetProperty("error");
        Assert.Equal((status, parameter), ((int)response.StatusCode, error.GetProperty("param").GetString()));
    }

    [Fact]
    public async Task ServerWithKeys_HasNoSuchPath()
    {
        (string secret, ApiKey key) = ApiKey.New("alice");
        await using ApiServer guarded = await ApiServer.StartAsync(_host, options: new ServerOptions { Urls = ["http://127.0.0.1:0"], Log = Microsoft.Extensions.Logging.LogLevel.None, Keys = [key] });
        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/adapters") { Headers = { Authorization = new("Bearer", secret) } };
        using HttpResponseMessage response = await guarded.Http.SendAsync(request, Cancellation);
        Assert.Equal(404, (int)response.StatusCode);
    }
}
