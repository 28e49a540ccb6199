using LongCtx.Api.Chat;
using LongCtx.Api.Embeddings;
using LongCtx.Api.Json;
using LongCtx.Api.Models;
using LongCtx.Api.Page;
using LongCtx.Api.Routing;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace LongCtx.Api;

/// <summary>OpenAI's HTTP API and the chat page over whatever <see cref="ICompletionHost"/> is registered.</summary>
public static class LongCtxApi
{
    public static IServiceCollection AddLongCtxApi(this IServiceCollection services, Action<ApiOptions>? configure = null)
    {
        ApiOptions options = new();
        configure?.Invoke(options);
        options.Validate();
        services.AddRouting();
        services.AddSingleton(options);
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton<ErrorBoundary>().AddSingleton<Tenants>().AddSingleton<Routes>().AddSingleton<RequestBody>().AddSingleton<Shutdown>();
        services.AddSingleton<ChatRequestReader>().AddSingleton<ChatStream>().AddSingleton<ChatEndpoint>();
        services.AddSingleton<EmbeddingEndpoint>().AddSingleton<ModelEndpoint>().AddSingleton<HealthEndpoint>();
        return services;
    }

    /// <summary>Maps every path; anything else is answered with OpenAI's error object too.</summary>
    public static IEndpointRouteBuilder MapLongCtxApi(this IEndpointRouteBuilder endpoints)
    {
        IServiceProvider services = endpoints.ServiceProvider;
        services.GetRequiredService<Routes>().Map(endpoints, Operations(services));
        return endpoints;
    }

    static IEnumerable<Operation> Operations(IServiceProvider services)
    {
        ModelEndpoint models = services.GetRequiredService<ModelEndpoint>();
        yield return new("POST", "/v1/chat/completions", services.GetRequiredService<ChatEndpoint>().HandleAsync);
        yield return new("POST", "/v1/embeddings", services.GetRequiredService<EmbeddingEndpoint>().HandleAsync);
        yield return new("GET", "/v1/models", models.ListAsync);
        yield return new("GET", "/v1/models/{**id}", models.FindAsync);
        yield return new("GET", "/health", services.GetRequiredService<HealthEndpoint>().HandleAsync) { IsOpen = true };
        foreach ((string path, RequestDelegate file) in WebPage.Files()) yield return new("GET", path, file) { IsOpen = true };
    }

    /// <summary>For the parts around the endpoints: the same error object as theirs.</summary>
    public static Task RefuseAsync(HttpContext http, int status, string code, string message) =>
        ApiError.From(new ApiException(status, code, message), http.TraceIdentifier).WriteAsync(http);
}
