using System.Net;
using System.Net.Http.Headers;
using System.Text;
using LongCtx.Server;
using Microsoft.Extensions.Logging;

namespace LongCtx.Api.Tests;

/// <summary>Who gets in, and as whom.</summary>
public sealed class ApiKeyTests : IAsyncLifetime
{
    readonly ScriptedHost host = new();
    readonly (string Secret, ApiKey Key) alice = ApiKey.New("alice"), bob = ApiKey.New("bob");
    ApiServer server = null!;

    public async ValueTask InitializeAsync() => server = await ApiServer.StartAsync(
        host, options: new ServerOptions { Urls = ["http://127.0.0.1:0"], Keys = [alice.Key, bob.Key with { Sha256 = bob.Key.Sha256.ToUpperInvariant() }], Log = LogLevel.None });

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task Request_WithAKey_IsTheTenants()
    {
        foreach ((string secret, string tenant) in new[] { (alice.Secret, "alice"), (bob.Secret, "bob"), (alice.Secret, "alice") })
        {
            using HttpResponseMessage response = await ChatAsync(new("Bearer", secret));
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            Assert.Equal(tenant, host.LastTenant);
        }
        using HttpResponseMessage lower = await ChatAsync(new("bearer", alice.Secret));
        Assert.Equal(HttpStatusCode.OK, lower.StatusCode);
    }

    public static TheoryData<string?, string?> WrongKeys => new()
    {
        { null, null },
        { "Bearer", null },
        { "Bearer", "lck_unknown" },
        { "Bearer", "default" },
        { "Basic", "YWxpY2U6eA==" },
    };

    [Theory]
    [MemberData(nameof(WrongKeys))]
    public async Task Request_WithoutAKnownKey_Is401AndReachesNothing(string? scheme, string? secret)
    {
        using HttpResponseMessage response = await ChatAsync(scheme is null ? null : new(scheme, secret));
        await response.AssertErrorAsync(401, "invalid_api_key");
        Assert.Equal("Bearer", Assert.Single(response.Headers.WwwAuthenticate).Scheme);
        Assert.Null(host.LastRequest);
    }

    [Fact]
    public async Task Request_WithTheHashInsteadOfTheKey_Is401()
    {
        using HttpResponseMessage response = await ChatAsync(new("Bearer", alice.Key.Sha256));
        await response.AssertErrorAsync(401, "invalid_api_key");
    }

    [Theory]
    [InlineData("/health")]
    [InlineData("/health/live")]
    [InlineData("/health/ready")]
    [InlineData("/")]
    [InlineData("/page/main.js")]
    public async Task HealthAndPage_WithoutAKey_Answer(string path)
    {
        using HttpResponseMessage response = await server.Http.GetAsync(path, TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
    }

    Task<HttpResponseMessage> ChatAsync(AuthenticationHeaderValue? authorization)
    {
        HttpRequestMessage request = new(HttpMethod.Post, "/v1/chat/completions")
        {
            Content = new StringContent("""{"messages":[{"role":"user","content":"hi"}]}""", Encoding.UTF8, "application/json"),
        };
        if (authorization is not null) request.Headers.TryAddWithoutValidation("Authorization", authorization.ToString());
        return server.Http.SendAsync(request, TestContext.Current.CancellationToken);
    }
}
