using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using LongCtx.Server;
using Microsoft.AspNetCore.Builder;

namespace LongCtx.Api.Tests;

/// <summary>A real web server on a free loopback port over a host, with clients for it.</summary>
internal sealed class ApiServer : IAsyncDisposable
{
    readonly WebApplication app;

    ApiServer(WebApplication app)
    {
        this.app = app;
        Address = new Uri(app.Urls.Single());
        Http = new HttpClient { BaseAddress = Address, Timeout = TimeSpan.FromMinutes(2) };
    }

    public Uri Address { get; }

    public HttpClient Http { get; }

    public IServiceProvider Services => app.Services;

    public static async Task<ApiServer> StartAsync(ICompletionHost host, Action<ApiOptions>? configure = null, ServerOptions? options = null)
    {
        options ??= new ServerOptions { Urls = ["http://127.0.0.1:0"], Log = Microsoft.Extensions.Logging.LogLevel.None };
        WebApplication built = ServerHost.Build(options, host, configure);
        await built.StartAsync(TestContext.Current.CancellationToken);
        return new ApiServer(built);
    }

    public Task StopAsync() => app.StopAsync(TestContext.Current.CancellationToken);

    public Task<HttpResponseMessage> PostAsync(string path, string body, string contentType = "application/json")
    {
        StringContent content = new(body, Encoding.UTF8);
        content.Headers.ContentType = contentType.Length == 0 ? null : MediaTypeHeaderValue.Parse(contentType);
        return Http.PostAsync(path, content, TestContext.Current.CancellationToken);
    }

    /// <summary>Posts and returns the answer as soon as its head is there.</summary>
    public Task<HttpResponseMessage> OpenAsync(string body, CancellationToken cancellation)
    {
        HttpRequestMessage request = new(HttpMethod.Post, "/v1/chat/completions") { Content = new StringContent(body, Encoding.UTF8, "application/json") };
        return Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
    }

    public static async Task<JsonElement> JsonAsync(HttpResponseMessage response)
    {
        Assert.Equal("application/json", response.Content.Headers.ContentType?.MediaType);
        using JsonDocument document = JsonDocument.Parse(await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
        return document.RootElement.Clone();
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await app.DisposeAsync();
    }
}
