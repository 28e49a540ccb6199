using System.Text.Json;
using LongCtx.Api.Items;
using LongCtx.Api.Json;
using LongCtx.Api.Routing;

namespace LongCtx.Api.Conversations;

/// <summary>/v1/conversations and /v1/conversations/{id}, with fork</summary>
internal sealed class ConversationEndpoint(IConversationHost host, RequestBody body, Quotas quotas)
{
    const int ItemsMax = 20;

    public async Task CreateAsync(HttpContext http)
    {
        string tenant = Tenants.Of(http);
        CreateConversation request;
        using (JsonDocument document = await body.ReadObjectAsync(http)) request = Read(document.RootElement) with { IdempotencyKey = IdempotencyKey.Of(http.Request) };
        using (await quotas.ConversationAsync(tenant, request.Model, request.IdempotencyKey, http.RequestAborted))
            await AnswerAsync(http, await host.CreateConversationAsync(tenant, request, http.RequestAborted));
    }

    public async Task GetAsync(HttpContext http) =>
        await AnswerAsync(http, await host.GetConversationAsync(Tenants.Of(http), ConversationId.Of(http), http.RequestAborted));

    public async Task UpdateAsync(HttpContext http)
    {
        Dictionary<string, string> metadata;
        using (JsonDocument document = await body.ReadObjectAsync(http))
        {
            JsonFields fields = new(document.RootElement);
            metadata = fields.Metadata() ?? throw ApiException.Missing("metadata");
            fields.RefuseOthers();
        }
        await AnswerAsync(http, await host.SetMetadataAsync(Tenants.Of(http), ConversationId.Of(http), metadata, http.RequestAborted));
    }

    public async Task ListAsync(HttpContext http)
    {
        QueryFields query = new(http.Request);
        PageRequest page = query.Page();
        query.RefuseOthers();
        if (page.After is { } after && !ConversationIds.IsConversation(after)) throw ApiException.Value("after", "the id of a conversation", $"'{after}'");
        Page<ConversationInfo> found = await host.ListConversationsAsync(Tenants.Of(http), page.After, page.Limit + 1, page.IsDescending, http.RequestAborted);
        ListBody<ConversationBody> list = ListBody<ConversationBody>.From([.. found.Items.Select(ConversationBody.From)], page.Limit, c => c.Id);
        await http.Response.WriteAsJsonAsync(list, ApiJson.Instance.ListBodyConversationBody, cancellationToken: http.RequestAborted);
    }

    public async Task DeleteAsync(HttpContext http)
    {
        string id = ConversationId.Of(http);
        await host.DeleteConversationAsync(Tenants.Of(http), id, http.RequestAborted);
        await http.Response.WriteAsJsonAsync(new DeletedBody(id, "conversation.deleted"), ApiJson.Instance.DeletedBody, cancellationToken: http.RequestAborted);
    }

    /// <summary>{"at": seq} or nothing for everything.</summary>
    public async Task ForkAsync(HttpContext http)
    {
        string tenant = Tenants.Of(http), id = ConversationId.Of(http);
        long? at;
        using (JsonDocument document = await body.ReadObjectOrNothingAsync(http))
        {
            JsonFields fields = new(document.RootElement);
            at = fields.Long("at", 1);
            fields.RefuseOthers();
        }
        using (await quotas.ConversationAsync(tenant, http.RequestAborted))
            await AnswerAsync(http, await host.ForkAsync(tenant, id, at, IdempotencyKey.Of(http.Request), http.RequestAborted));
    }

    static CreateConversation Read(JsonElement element)
    {
        JsonFields fields = new(element);
        CreateConversation request = new(fields.Text("model"), fields.Metadata()) { Adapter = AdapterReader.ReadWithin(fields) };
        if (fields.Take("items", out JsonElement items))
        {
            if (items.ValueKind != JsonValueKind.Array) throw ApiException.Type("items", "an array", items.Kind());
            if (items.GetArrayLength() > ItemsMax) throw ApiException.Value("items", $"an array of at most {ItemsMax} items", $"of {items.GetArrayLength()}");
            request = request with { Messages = ItemReader.Read(items, "items") };
        }
        fields.RefuseOthers();
        return request;
    }

    public static Task AnswerAsync(HttpContext http, ConversationInfo info) =>
        http.Response.WriteAsJsonAsync(ConversationBody.From(info), ApiJson.Instance.ConversationBody, cancellationToken: http.RequestAborted);
}
