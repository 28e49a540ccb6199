using LongCtx.Api.Chat;
using LongCtx.Api.Conversations;
using LongCtx.Api.Embeddings;
using LongCtx.Api.Events;
using LongCtx.Api.Items;
using LongCtx.Api.Json;
using LongCtx.Api.Metrics;
using LongCtx.Api.Models;
using LongCtx.Api.OpenApi;
using LongCtx.Api.Page;
using LongCtx.Api.Responses;
using LongCtx.Api.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace LongCtx.Api;

/// <summary>Everything that the API does, in the order of the OpenAPI document.</summary>
internal static class ApiOperations
{
    /// <summary>Conversations are there where the host keeps them.</summary>
    public static IEnumerable<Operation> Of(IServiceProvider services)
    {
        bool keepsConversations = services.GetService<IConversationHost>() is not null;
        // An adapter is a path on this machine: not for every holder of a key.
        bool isAdaptable = services.GetRequiredService<ICompletionHost>() is IAdapterHost && services.GetRequiredService<ApiOptions>().Keys.Count == 0;
        return [.. Computing(services), .. isAdaptable ? Adapters(services) : [], .. keepsConversations ? [.. Conversations(services), .. Responses(services)] : Array.Empty<Operation>(), .. Operating(services), .. Files()];
    }

    static IEnumerable<Operation> Computing(IServiceProvider services)
    {
        ModelEndpoint models = services.GetRequiredService<ModelEndpoint>();
        yield return new("POST", "/v1/chat/completions", services.GetRequiredService<ChatEndpoint>().HandleAsync)
        {
            Name = "createChatCompletion", Summary = "Answers a chat; nothing of it is kept.",
            Request = typeof(ChatRequest), Response = typeof(ChatCompletion), ResponseMedia = [Media.Events(typeof(ChatChunk))],
        };
        yield return new("POST", "/v1/embeddings", services.GetRequiredService<EmbeddingEndpoint>().HandleAsync)
        {
            Name = "createEmbedding", Summary = "Embeds texts.", Request = typeof(EmbeddingShape), Response = typeof(EmbeddingList),
        };
        yield return new("GET", "/v1/models", models.ListAsync) { Name = "listModels", Summary = "The loaded models.", Response = typeof(ModelList) };
        yield return new("GET", "/v1/models/{**id}", models.FindAsync) { Name = "getModel", Summary = "One loaded model.", Response = typeof(ModelBody) };
    }

    static IEnumerable<Operation> Adapters(IServiceProvider services)
    {
        StaticAdapterEndpoint adapters = services.GetRequiredService<StaticAdapterEndpoint>();
        yield return new("POST", "/v1/adapters", adapters.LoadAsync)
        {
            Name = "loadAdapter", Summary = "Loads a LoRA adapter from a PEFT directory of this machine; it is served as a model called model:name. LongCtx's own, and only where there are no API keys.",
            Request = typeof(StaticAdapterShape), Response = typeof(ModelBody),
        };
        yield return new("GET", "/v1/adapters", adapters.ListAsync) { Name = "listAdapters", Summary = "The loaded adapters. LongCtx's own.", Response = typeof(ModelList) };
        yield return new("DELETE", "/v1/adapters/{**id}", adapters.UnloadAsync)
        {
            Name = "unloadAdapter", Summary = "No new request finds the adapter; those that use it go on with it. LongCtx's own.", Response = typeof(DeletedBody),
        };
    }

    static IEnumerable<Operation> Conversations(IServiceProvider services)
    {
        ConversationEndpoint conversations = services.GetRequiredService<ConversationEndpoint>();
        ItemEndpoint items = services.GetRequiredService<ItemEndpoint>();
        TransferEndpoint transfer = services.GetRequiredService<TransferEndpoint>();
        AdapterEndpoint adapters = services.GetRequiredService<AdapterEndpoint>();
        EventEndpoint events = services.GetRequiredService<EventEndpoint>();
        yield return new("POST", "/v1/conversations", conversations.CreateAsync)
        {
            Name = "createConversation", Summary = "Creates a conversation.",
            Request = typeof(ConversationShape), Response = typeof(ConversationBody), Parameters = [Parameter.IdempotencyKey],
        };
        yield return new("GET", "/v1/conversations", conversations.ListAsync)
        {
            Name = "listConversations", Summary = "The conversations by age. LongCtx's own.", Response = typeof(ListBody<ConversationBody>), Parameters = Parameter.Page,
        };
        yield return new("GET", "/v1/conversations/{id}", conversations.GetAsync)
        {
            Name = "getConversation", Summary = "One conversation.", Response = typeof(ConversationBody),
        };
        yield return new("POST", "/v1/conversations/{id}", conversations.UpdateAsync)
        {
            Name = "updateConversation", Summary = "Replaces the metadata.", Request = typeof(MetadataShape), Response = typeof(ConversationBody),
        };
        yield return new("DELETE", "/v1/conversations/{id}", conversations.DeleteAsync)
        {
            Name = "deleteConversation", Summary = "Deletes for good, with all turns; one that is being answered ends.", Response = typeof(DeletedBody),
        };
        yield return new("POST", "/v1/conversations/{id}/items", items.AppendAsync)
        {
            Name = "createConversationItems",
            Summary = "Appends messages without asking for a reply. Lines of items, or a plain text, of any length are appended while they arrive, and each piece is acknowledged by a line of JSON.",
            Request = typeof(ItemsShape), RequestMedia = [new("application/x-ndjson", typeof(ItemShape)), new("application/jsonl", typeof(ItemShape)), new("text/plain")],
            Response = typeof(AppendedBody), ResponseMedia = [new("application/x-ndjson", typeof(FeedAck))],
            Parameters =
            [
                Parameter.IdempotencyKey,
                new("producer", typeof(string), "For lines and text: who feeds. With it, a piece that is sent again is appended once."),
                new("number", typeof(long), "For lines and text: the producer's number of the first piece; otherwise 1."),
                new("role", typeof(string), "For text: the role of its messages; otherwise user."),
            ],
        };
        yield return new("GET", "/v1/conversations/{id}/items", items.ListAsync)
        {
            Name = "listConversationItems", Summary = "The messages of a conversation.", Response = typeof(ListBody<MessageItem>), Parameters = Parameter.Page,
        };
        yield return new("GET", "/v1/conversations/{id}/items/{item}", items.GetAsync)
        {
            Name = "getConversationItem", Summary = "One message.", Response = typeof(MessageItem),
        };
        yield return new("DELETE", "/v1/conversations/{id}/items/{item}", ItemEndpoint.DeleteAsync)
        {
            Name = "deleteConversationItem", Summary = "Always 405: fork the conversation before the item instead.",
        };
        yield return new("POST", "/v1/conversations/{id}/fork", conversations.ForkAsync)
        {
            Name = "forkConversation", Summary = "A new conversation with the events up to a sequence number. LongCtx's own.",
            Request = typeof(ForkShape), Response = typeof(ConversationBody), Parameters = [Parameter.IdempotencyKey],
        };
        yield return new("GET", "/v1/conversations/{id}/export", transfer.ExportAsync)
        {
            Name = "exportConversation", Summary = "Everything that is needed to import it elsewhere, as lines of JSON. LongCtx's own.", ResponseMedia = [new(TransferEndpoint.JsonLines)],
        };
        yield return new("POST", "/v1/conversations/import", transfer.ImportAsync)
        {
            Name = "importConversation", Summary = "A new conversation from the lines of an export. LongCtx's own.",
            RequestMedia = [new(TransferEndpoint.JsonLines)], Response = typeof(ConversationBody),
        };
        yield return new("GET", "/v1/conversations/{id}/adapter", adapters.GetAsync)
        {
            Name = "getConversationAdapter", Summary = "The temporary adapter, what it has learned and what that gained. LongCtx's own.", Response = typeof(AdapterBody),
        };
        yield return new("POST", "/v1/conversations/{id}/adapter", adapters.ConfigureAsync)
        {
            Name = "configureConversationAdapter",
            Summary = "The conversation learns from its own text from here on; what is left out of the settings is the default. Waits for a turn that is being answered. LongCtx's own.",
            Request = typeof(AdapterShape), Response = typeof(AdapterBody),
        };
        yield return new("DELETE", "/v1/conversations/{id}/adapter", adapters.DisableAsync)
        {
            Name = "disableConversationAdapter", Summary = "Back to the base model, and nothing more is learned. LongCtx's own.", Response = typeof(AdapterBody),
        };
        yield return new("POST", "/v1/conversations/{id}/adapter/reset", adapters.ResetAsync)
        {
            Name = "resetConversationAdapter", Summary = "Back to the base model; learning goes on with what comes. LongCtx's own.", Response = typeof(AdapterBody),
        };
        yield return new("GET", "/v1/conversations/{id}/adapter/export", adapters.ExportAsync)
        {
            Name = "exportConversationAdapter", Summary = "The version in use as a zip of the files of a PEFT directory. LongCtx's own.", ResponseMedia = [new(AdapterEndpoint.Zip)],
        };
        yield return new("GET", "/v1/conversations/{id}/events", events.OneAsync)
        {
            Name = "streamConversationEvents", Summary = "The journal as server-sent events without end; the id is the sequence number. LongCtx's own.",
            ResponseMedia = [Media.Events(typeof(ConversationEvent))],
            Parameters =
            [
                new("after", typeof(long), "Sequence number behind which to begin; otherwise 0."),
                new("turns", typeof(long), "Begin with the first event of the newest turns and appends, so many of them: 1 to 1000. Not together with after; Last-Event-ID wins over it."),
                new("before", typeof(long), "With turns: the newest ones before this turn; the stream ends with them."),
                Parameter.LastEventId,
            ],
        };
        yield return new("GET", "/v1/events", events.ManyAsync)
        {
            Name = "streamEvents", Summary = "The journals of several conversations over one connection; the id is conversation:sequence number. LongCtx's own.",
            ResponseMedia = [Media.Events(typeof(ConversationEvent))], Parameters = [new("conversation", typeof(string[]), "id:after, up to 100 times."), Parameter.LastEventId],
        };
    }

    static IEnumerable<Operation> Responses(IServiceProvider services)
    {
        ResponseEndpoint responses = services.GetRequiredService<ResponseEndpoint>();
        yield return new("POST", "/v1/responses", responses.CreateAsync)
        {
            Name = "createResponse", Summary = "Answers in a conversation. Closing the connection does not stop the turn.",
            Request = typeof(ResponseRequest), Response = typeof(ResponseBody), ResponseMedia = [Media.Events()], Parameters = [Parameter.IdempotencyKey],
        };
        yield return new("GET", "/v1/responses/{id}", responses.GetAsync)
        {
            Name = "getResponse", Summary = "A response as it stands, or its stream.", Response = typeof(ResponseBody), ResponseMedia = [Media.Events()],
            Parameters =
            [
                new("stream", typeof(bool), "Send the response's events, as when it was created."),
                new("starting_after", typeof(long), "With stream: leave out events up to this sequence_number."),
                Parameter.LastEventId,
            ],
        };
        yield return new("DELETE", "/v1/responses/{id}", responses.DeleteAsync)
        {
            Name = "deleteResponse", Summary = "Deletes the conversation that was made for this response; 405 where there is more in it.", Response = typeof(DeletedBody),
        };
        yield return new("POST", "/v1/responses/{id}/cancel", responses.CancelAsync)
        {
            Name = "cancelResponse", Summary = "Stops a turn; what was generated so far stays.", Response = typeof(ResponseBody),
        };
        yield return new("GET", "/v1/responses/{id}/input_items", responses.ListInputAsync)
        {
            Name = "listResponseInputItems", Summary = "The messages that the response answers.", Response = typeof(ListBody<MessageItem>), Parameters = Parameter.Page,
        };
    }

    static IEnumerable<Operation> Operating(IServiceProvider services)
    {
        var health = services.GetRequiredService<HealthEndpoint>();
        yield return new("GET", "/health", health.HandleAsync)
        {
            Name = "getHealth", Summary = "Whether the server takes work; 503 when it does not.", Response = typeof(HealthReport), IsOpen = true,
        };
        yield return new("GET", "/health/ready", health.HandleAsync)
        {
            Name = "getReadiness", Summary = "The same, under the name that orchestrators look for.", Response = typeof(HealthReport), IsOpen = true,
        };
        yield return new("GET", "/health/live", HealthEndpoint.LiveAsync)
        {
            Name = "getLiveness", Summary = "200 as long as the process answers, also while it drains.", ResponseMedia = [new("text/plain")], IsOpen = true,
        };
        yield return new("GET", "/metrics", services.GetRequiredService<MetricsEndpoint>().HandleAsync)
        {
            Name = "getMetrics", Summary = "Counters and gauges in Prometheus' text format.", ResponseMedia = [new("text/plain")],
        };
        yield return new("GET", "/openapi.json", services.GetRequiredService<OpenApiEndpoint>().HandleAsync)
        {
            Name = "getOpenApi", Summary = "This document.", ResponseMedia = [new("application/json")],
        };
    }

    static IEnumerable<Operation> Files() => WebPage.Files().Select(f => new Operation("GET", f.Path, f.Endpoint) { IsOpen = true });
}
