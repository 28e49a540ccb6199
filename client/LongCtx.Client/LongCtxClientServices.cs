using LongCtx.Client;
using Microsoft.Extensions.AI;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers the client.</summary>
public static class LongCtxClientServices
{
    /// <summary>Name of the HTTP client, for handlers of one's own.</summary>
    public const string HttpClientName = "LongCtx";

    /// <summary>Adds <see cref="LongCtxClient"/> and <see cref="IChatClient"/> as singletons.</summary>
    /// <exception cref="LongCtx.LongCtxException">When the client is first asked for: an option is out of its range.</exception>
    public static IHttpClientBuilder AddLongCtxClient(this IServiceCollection services, LongCtxClientOptions options)
    {
        services.AddSingleton(provider => new LongCtxClient(provider.GetRequiredService<IHttpClientFactory>().CreateClient(HttpClientName), options));
        services.AddSingleton<IChatClient>(provider => new LongCtxChatClient(provider.GetRequiredService<LongCtxClient>()));
        // Singletons keep their handler for ever: its connections are renewed instead, so that a changed address is seen.
        return services.AddHttpClient(HttpClientName).SetHandlerLifetime(Timeout.InfiniteTimeSpan)
            .UseSocketsHttpHandler((handler, _) => handler.PooledConnectionLifetime = TimeSpan.FromMinutes(5));
    }
}
