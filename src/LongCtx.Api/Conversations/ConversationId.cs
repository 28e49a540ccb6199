namespace LongCtx.Api.Conversations;

/// <summary>Conversation ids as they come with a request.</summary>
internal static class ConversationId
{
    /// <summary>The {id} of the path.</summary>
    public static string Of(HttpContext http) => Check((string)http.Request.RouteValues["id"]!);

    /// <summary>What cannot be an id is an id that nobody has.</summary>
    public static string Check(string id) => ConversationIds.IsConversation(id) ? id
        : throw new LongCtxException(ErrorCode.NotFound, $"There is no conversation '{id}': ids begin with conv_ and come from POST /v1/conversations.");
}
