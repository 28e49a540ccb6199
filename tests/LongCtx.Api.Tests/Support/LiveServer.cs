using System.ClientModel;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using LongCtx.Server;
using Microsoft.Extensions.Logging;
using OpenAI.Conversations;
using OpenAI.Responses;

[assembly: AssemblyFixture(typeof(LongCtx.Api.Tests.LiveServer))]

namespace LongCtx.Api.Tests;

/// <summary>
/// The real server as it is started by its options: pg19-7m, SQLite in a directory of its own, HTTP on a free port. One is shared by all tests;
/// each works in conversations of its own.
/// </summary>
public sealed class LiveServer : IAsyncLifetime
{
    /// <summary>A model this small would sometimes end its reply at once; these tests need replies of a known length.</summary>
    public const string NeverEnd = "\"logit_bias\":{\"0\":-100,\"1\":-100,\"2\":-100}";

    public const string Model = "pg19-7m";

    readonly Action<ApiOptions>? configure;
    readonly IReadOnlyList<ApiKey> keys;
    readonly int retainEvents;
    readonly bool ownsDirectory;
    ICompletionHost host = null!;
    ApiServer server = null!;

    public LiveServer() : this(null) { }

    private LiveServer(string? directory, Action<ApiOptions>? configure = null, int retainEvents = 0, params IReadOnlyList<ApiKey> keys)
    {
        ownsDirectory = directory is null;
        Directory = directory ?? System.IO.Directory.CreateTempSubdirectory("longctx-api").FullName;
        (this.configure, this.retainEvents, this.keys) = (configure, retainEvents, keys);
    }

    public static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public string Directory { get; }

    public HttpClient Http => server.Http;

    public Uri Address => server.Address;

    internal IConversationHost Host => (IConversationHost)host;

    public ResponsesClient Responses => new(new ApiKeyCredential("none"), new ResponsesClientOptions { Endpoint = new Uri(server.Address, "/v1") });

    public ConversationClient Conversations => new(new ApiKeyCredential("none"), new ConversationClientOptions { Endpoint = new Uri(server.Address, "/v1") });

    /// <summary>One more, for tests that stop it, limit it, or use keys.</summary>
    internal static async Task<LiveServer> StartAsync(string? directory = null, Action<ApiOptions>? configure = null, int retainEvents = 0, params IReadOnlyList<ApiKey> keys)
    {
        LiveServer live = new(directory, configure, retainEvents, keys);
        await live.InitializeAsync();
        return live;
    }

    public async ValueTask InitializeAsync()
    {
        ServerOptions options = new()
        {
            Urls = ["http://127.0.0.1:0"], Models = [Model], Capacity = 256, Threads = 1, Data = Directory, RetainEvents = retainEvents, Keys = keys, Log = LogLevel.None,
        };
        host = await LocalHost.OpenAsync(options, CancellationToken.None);
        server = await ApiServer.StartAsync(host, configure, options);
    }

    public Task StopAsync() => server.StopAsync();

    public async ValueTask DisposeAsync()
    {
        await server.DisposeAsync();
        await ((IAsyncDisposable)host).DisposeAsync();
        if (ownsDirectory) System.IO.Directory.Delete(Directory, recursive: true);
        GC.SuppressFinalize(this);
    }

    public HttpRequestMessage Request(string method, string path, string? body = null, string? key = null)
    {
        HttpRequestMessage request = new(new HttpMethod(method), path);
        if (body is not null) request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        if (key is not null) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return request;
    }

    public async Task<HttpResponseMessage> SendAsync(string method, string path, string? body = null, string? key = null) =>
        await Http.SendAsync(Request(method, path, body, key), HttpCompletionOption.ResponseHeadersRead, Cancellation);

    /// <summary>The JSON of an answer with status 200.</summary>
    public async Task<JsonElement> JsonAsync(string method, string path, string? body = null, string? idempotencyKey = null, string? key = null)
    {
        HttpRequestMessage request = Request(method, path, body, key);
        if (idempotencyKey is not null) request.Headers.Add("Idempotency-Key", idempotencyKey);
        using HttpResponseMessage response = await Http.SendAsync(request, Cancellation);
        JsonElement json = await ApiServer.JsonAsync(response);
        Assert.True((int)response.StatusCode == 200, $"{method} {path}: {(int)response.StatusCode} {json}");
        return json;
    }

    public async Task AssertErrorAsync(string method, string path, string? body, int status, string code, string? parameter = null, string? key = null)
    {
        using HttpResponseMessage response = await SendAsync(method, path, body, key);
        await response.AssertErrorAsync(status, code, parameter);
    }

    /// <summary>A new conversation's id.</summary>
    public async Task<string> CreateAsync(string body = "{}", string? key = null) =>
        (await JsonAsync("POST", "/v1/conversations", body, key: key)).GetProperty("id").GetString()!;

    /// <summary>A whole reply of <paramref name="tokens"/> tokens.</summary>
    public Task<JsonElement> RespondAsync(string fields, int tokens = 8) => JsonAsync("POST", "/v1/responses", Body(fields, tokens));

    /// <summary>A request for a reply that ends after <paramref name="tokens"/> tokens and not before.</summary>
    public static string Body(string fields, int tokens = 8) => $"{{\"temperature\":0,\"max_output_tokens\":{tokens},{NeverEnd},{fields}}}";

    internal async Task<SseReader> OpenStreamAsync(string method, string path, string? body = null, string? lastEventId = null)
    {
        HttpRequestMessage request = Request(method, path, body);
        if (lastEventId is not null) request.Headers.Add("Last-Event-ID", lastEventId);
        HttpResponseMessage response = await Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancellation);
        Assert.True((int)response.StatusCode == 200, $"{path}: {(int)response.StatusCode} {(response.IsSuccessStatusCode ? "" : await response.Content.ReadAsStringAsync(Cancellation))}");
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        return new(await response.Content.ReadAsStreamAsync(Cancellation), response);
    }

    /// <summary>Text of a response's reply.</summary>
    public static string TextOf(JsonElement response) => response.GetProperty("output")[0].GetProperty("content")[0].GetProperty("text").GetString()!;
}
