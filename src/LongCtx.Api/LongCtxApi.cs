using LongCtx.Api.Chat;
using LongCtx.Api.Conversations;
using LongCtx.Api.Embeddings;
using LongCtx.Api.Events;
using LongCtx.Api.Items;
using LongCtx.Api.Json;
using LongCtx.Api.Models;
using LongCtx.Api.Page;
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
        services.AddSingleton<TransferEndpoint>().AddSingleton<EventEndpoint>();
        services.AddSingleton<TurnSubmission>().AddSingleton<ResponseJournal>().AddSingleton<ResponseStream>().AddSingleton<StatelessResponse>();
        services.AddSingleton<ResponseEndpoint>();
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
        if (services.GetService<IConversationHost>() is not null)
            foreach (Operation operation in ConversationOperations(services)) yield return operation;
        foreach ((string path, RequestDelegate file) in WebPage.Files()) yield return new("GET", path, file) { IsOpen = true };
    }

    static IEnumerable<Operation> ConversationOperations(IServiceProvider services)
    {
        ConversationEndpoint conversations = services.GetRequiredService<ConversationEndpoint>();
        ItemEndpoint items = services.GetRequiredService<ItemEndpoint>();
        TransferEndpoint transfer = services.GetRequiredService<TransferEndpoint>();
        EventEndpoint events = services.GetRequiredService<EventEndpoint>();
        ResponseEndpoint responses = services.GetRequiredService<ResponseEndpoint>();
        yield return new("POST", "/v1/conversations", conversations.CreateAsync);
        yield return new("GET", "/v1/conversations", conversations.ListAsync);
        yield return new("GET", "/v1/conversations/{id}", conversations.GetAsync);
        yield return new("POST", "/v1/conversations/{id}", conversations.UpdateAsync);
        yield return new("DELETE", "/v1/conversations/{id}", conversations.DeleteAsync);
        yield return new("POST", "/v1/conversations/{id}/items", items.AppendAsync);
        yield return new("GET", "/v1/conversations/{id}/items", items.ListAsync);
        yield return new("GET", "/v1/conversations/{id}/items/{item}", items.GetAsync);
        yield return new("DELETE", "/v1/conversations/{id}/items/{item}", ItemEndpoint.DeleteAsync);
        yield return new("POST", "/v1/conversations/{id}/fork", conversations.ForkAsync);
        yield return new("GET", "/v1/conversations/{id}/export", transfer.ExportAsync);
        yield return new("POST", "/v1/conversations/import", transfer.ImportAsync);
        yield return new("GET", "/v1/conversations/{id}/events", events.OneAsync);
        yield return new("GET", "/v1/events", events.ManyAsync);
        yield return new("POST", "/v1/responses", responses.CreateAsync);
        yield return new("GET", "/v1/responses/{id}", responses.GetAsync);
        yield return new("DELETE", "/v1/responses/{id}", responses.DeleteAsync);
        yield return new("POST", "/v1/responses/{id}/cancel", responses.CancelAsync);
        yield return new("GET", "/v1/responses/{id}/input_items", responses.ListInputAsync);
    }

    /// <summary>For the parts around the endpoints: the same error object as theirs.</summary>
    public static Task RefuseAsync(HttpContext http, int status, string code, string message) =>
        ApiError.From(new ApiException(status, code, message), http.TraceIdentifier).WriteAsync(http);
}
