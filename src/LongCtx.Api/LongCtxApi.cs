using LongCtx.Api.Chat;
using LongCtx.Api.Embeddings;
using LongCtx.Api.Json;
using LongCtx.Api.Models;
using LongCtx.Api.Page;
using Microsoft.AspNetCore.Builder;
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
        services.AddSingleton<ErrorBoundary>().AddSingleton<RequestBody>().AddSingleton<Shutdown>();
        services.AddSingleton<ChatRequestReader>().AddSingleton<ChatStream>().AddSingleton<ChatEndpoint>();
        services.AddSingleton<EmbeddingEndpoint>().AddSingleton<ModelEndpoint>().AddSingleton<HealthEndpoint>();
        return services;
    }

    /// <summary>Maps every path; anything else is answered with OpenAI's error object too.</summary>
    public static IEndpointRouteBuilder MapLongCtxApi(this IEndpointRouteBuilder endpoints)
    {
        IServiceProvider services = endpoints.ServiceProvider;
        ErrorBoundary boundary = services.GetRequiredService<ErrorBoundary>();
        ModelEndpoint models = services.GetRequiredService<ModelEndpoint>();

        Post("/v1/chat/completions", services.GetRequiredService<ChatEndpoint>().HandleAsync);
        Post("/v1/embeddings", services.GetRequiredService<EmbeddingEndpoint>().HandleAsync);
        Get("/v1/models", models.ListAsync);
        Get("/v1/models/{**id}", models.FindAsync);
        Get("/health", services.GetRequiredService<HealthEndpoint>().HandleAsync);
        foreach ((string path, RequestDelegate file) in WebPage.Files()) Get(path, file);
        endpoints.Map("{**path}", boundary.Wrap(http => throw new ApiException(
            404, "not_found", $"There is nothing at {http.Request.Method} {http.Request.Path}. The page is at /, the API under /v1.")));
        return endpoints;

        void Get(string path, RequestDelegate endpoint) => Add(path, endpoint, "GET", "HEAD");
        void Post(string path, RequestDelegate endpoint) => Add(path, endpoint, "POST");

        void Add(string path, RequestDelegate endpoint, params string[] methods)
        {
            endpoints.MapMethods(path, methods, boundary.Wrap(endpoint));
            endpoints.Map(path, boundary.Wrap(http => throw new ApiException(
                405, "method_not_allowed", $"{http.Request.Path} takes {methods[0]}, not {http.Request.Method}.") { Allow = string.Join(", ", methods) }));
        }
    }

    /// <summary>For the parts around the endpoints: the same error object as theirs.</summary>
    public static Task RefuseAsync(HttpContext http, int status, string code, string message) =>
        ApiError.From(new ApiException(status, code, message), http.TraceIdentifier).WriteAsync(http);
}
