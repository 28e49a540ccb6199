using System.Text.Json;
using System.Text.Json.Serialization;
using LongCtx.Api.Conversations;
using LongCtx.Api.Json;
using LongCtx.Api.Routing;
using Microsoft.Net.Http.Headers;

namespace LongCtx.Api.Items;

/// <summary>/v1/conversations/{id}/items and /v1/conversations/{id}/items/{item}</summary>
internal sealed class ItemEndpoint(IConversationHost host, TurnReader turns, RequestBody body, FeedEndpoint feed)
{
    const int ItemsMax = 20;

    public async Task ListAsync(HttpContext http)
    {
        string id = ConversationId.Of(http);
        QueryFields query = new(http.Request);
        PageRequest page = query.Page();
        RefuseInclude(query);
        query.RefuseOthers();
        await AnswerAsync(http, turns.ItemsAsync(Tenants.Of(http), id, After(page, id), page.IsDescending, http.RequestAborted), page.Limit);
    }

    public async Task GetAsync(HttpContext http)
    {
        string id = ConversationId.Of(http), item = (string)http.Request.RouteValues["item"]!;
        if (!ConversationIds.TryParseMessage(item, out string owner, out int turn, out int number) || owner != id) throw NotFound(item, id);
        TurnInfo found = await turns.FindAsync(Tenants.Of(http), id, turn, $"item '{item}'", http.RequestAborted);
        IReadOnlyList<MessageItem> items = (await turns.ReadAsync(Tenants.Of(http), id, found, http.RequestAborted)).Items();
        if (number < 1 || number > items.Count) throw NotFound(item, id);
        await http.Response.WriteAsJsonAsync(items[number - 1], ApiJson.Instance.MessageItem, cancellationToken: http.RequestAborted);
    }

    /// <summary>JSON is one append of some items; a body in lines or of plain text is appended while it arrives.</summary>
    public async Task AppendAsync(HttpContext http)
    {
        string? type = MediaTypeHeaderValue.TryParse(http.Request.ContentType, out MediaTypeHeaderValue? parsed) ? parsed.MediaType.Value?.ToLowerInvariant() : null;
        if (type is "application/x-ndjson" or "application/jsonl") await feed.AppendLinesAsync(http);
        else if (type == "text/plain") await feed.AppendTextAsync(http);
        else await AppendOnceAsync(http);
    }

    public static Task DeleteAsync(HttpContext http) => throw new ApiException(405, "method_not_allowed",
        "An item of a conversation cannot be deleted: what was said has been computed with. POST /v1/conversations/{id}/fork with {\"at\": seq} makes a conversation that ends before it.")
    {
        Allow = "GET, HEAD",
    };

    async Task AppendOnceAsync(HttpContext http)
    {
        string tenant = Tenants.Of(http), id = ConversationId.Of(http);
        QueryFields query = new(http.Request);
        RefuseInclude(query);
        query.RefuseOthers();
        AppendInput input;
        using (JsonDocument document = await body.ReadObjectAsync(http)) input = Read(document.RootElement);
        if (input.Producer is null && IdempotencyKey.Of(http.Request) is { } key) input = input with { Producer = "key:" + key, Number = 1 };
        InputAck ack = await host.AppendInputAsync(tenant, id, input, http.RequestAborted);
        TurnInfo turn = await turns.FindAsync(tenant, id, ack.Turn, "append", http.RequestAborted);
        IReadOnlyList<MessageItem> items = (await turns.ReadAsync(tenant, id, turn, http.RequestAborted)).Items();
        AppendedBody answer = new("list", items, items[0].Id, items[^1].Id, false, new(ack.Seq, ack.Turn, ack.IsNew));
        await http.Response.WriteAsJsonAsync(answer, ApiJson.Instance.AppendedBody, cancellationToken: http.RequestAborted);
    }

    static AppendInput Read(JsonElement element)
    {
        JsonFields fields = new(element);
        if (!fields.Take("items", out JsonElement items)) throw ApiException.Missing("items");
        if (items.ValueKind != JsonValueKind.Array) throw ApiException.Type("items", "an array", items.Kind());
        if (items.GetArrayLength() is 0 or > ItemsMax) throw ApiException.Value("items", $"an array of 1 to {ItemsMax} items", $"of {items.GetArrayLength()}");
        AppendInput input = new(ItemReader.Read(items, "items"))
        {
            Producer = fields.Text("producer"),
            Number = fields.Long("number", 1) ?? 0,
            Wait = fields.Flag("wait") ?? false,
        };
        FeedEndpoint.CheckProducer(input.Producer, input.Number > 0);
        fields.RefuseOthers();
        return input;
    }

    /// <summary>Where a page begins; the id must be one of this conversation's.</summary>
    public static (int Turn, int Number)? After(PageRequest page, string conversation)
    {
        if (page.After is not { } after) return null;
        return ConversationIds.TryParseMessage(after, out string owner, out int turn, out int number) && owner == conversation
            ? (turn, number) : throw ApiException.Value("after", "the id of an item of this conversation", $"'{after}'");
    }

    public static async Task AnswerAsync(HttpContext http, IAsyncEnumerable<MessageItem> items, int limit)
    {
        List<MessageItem> found = [];
        bool hasMore = false;
        try
        {
            await foreach (MessageItem item in items.WithCancellation(http.RequestAborted))
            {
                hasMore = found.Count == limit;
                if (hasMore) break;
                found.Add(item);
            }
        }
        catch (ApiException e) when (e.Code == TurnReader.GapCode && found.Count > 0)
        {
            hasMore = true; // the page that begins there will say that it is no longer retained
        }

        await http.Response.WriteAsJsonAsync(
            ListBody<MessageItem>.Page(found, hasMore, i => i.Id), ApiJson.Instance.ListBodyMessageItem, cancellationToken: http.RequestAborted);
    }

    /// <summary>OpenAI's SDKs send `include` in both spellings.</summary>
    public static void RefuseInclude(QueryFields query)
    {
        foreach (string included in query.All("include").Concat(query.All("include[]")))
            throw ApiException.Unsupported("include", $"'{included}' is not implemented.");
    }

    static LongCtxException NotFound(string item, string conversation) => new(ErrorCode.NotFound, $"There is no item '{item}' in {conversation}.");
}

/// <summary>The items of one append, and where they stand in the journal.</summary>
internal sealed record AppendedBody(
    string Object, IReadOnlyList<MessageItem> Data, string FirstId, string LastId, bool HasMore, [property: JsonPropertyName("longctx")] AppendedAt LongCtx);

/// <param name="Seq">Of the event that holds them.</param>
/// <param name="New">False when they had been appended before.</param>
internal sealed record AppendedAt(long Seq, int Turn, bool New);
