using LongCtx.Api.Chat;
using LongCtx.Api.Conversations;
using LongCtx.Api.Embeddings;
using LongCtx.Api.Events;
using LongCtx.Api.Items;
using LongCtx.Api.Json;
using LongCtx.Api.Metrics;
using LongCtx.Api.Models;
using LongCtx.Api.OpenApi;
using LongCtx.Api.Responses;
using LongCtx.Api.Routing;
using LongCtx.Api.Streaming;
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
        services.AddSingleton<Telemetry>().AddSingleton<Heartbeat>().AddSingleton<Quotas>();
        services.AddSingleton<TurnReader>().AddSingleton<ConversationEndpoint>().AddSingleton<ItemEndpoint>().AddSingleton<FeedEndpoint>();
        services.AddSingleton<TransferEndpoint>().AddSingleton<AdapterEndpoint>().AddSingleton<EventEndpoint>();
        services.AddSingleton<TurnSubmission>().AddSingleton<ResponseJournal>().AddSingleton<ResponseStream>().AddSingleton<StatelessResponse>();
        services.AddSingleton<ResponseEndpoint>();
        services.AddSingleton<EmbeddingEndpoint>().AddSingleton<ModelEndpoint>().AddSingleton<StaticAdapterEndpoint>().AddSingleton<HealthEndpoint>();
        services.AddSingleton<MetricsEndpoint>().AddSingleton<OpenApiEndpoint>().AddLongCtxOpenApi();
        return services;
    }

    /// <summary>Maps every path; anything else is answered with OpenAI's error object too.</summary>
    public static IEndpointRouteBuilder MapLongCtxApi(this IEndpointRouteBuilder endpoints)
    {
        IServiceProvider services = endpoints.ServiceProvider;
        services.GetRequiredService<Routes>().Map(endpoints, ApiOperations.Of(services));
        return endpoints;
    }

    /// <summary>For the parts around the endpoints: the same error object as theirs.</summary>
    public static Task RefuseAsync(HttpContext http, int status, string code, string message) =>
        ApiError.From(new ApiException(status, code, message), http.TraceIdentifier).WriteAsync(http);
}
