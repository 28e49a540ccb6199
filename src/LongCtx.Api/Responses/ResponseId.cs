namespace LongCtx.Api.Responses;

/// <summary>Response ids as they come with a request.</summary>
internal static class ResponseId
{
    /// <summary>Conversation and turn of the {id} of the path.</summary>
    public static (string Conversation, int Turn) Of(HttpContext http)
    {
        string id = (string)http.Request.RouteValues["id"]!;
        return ConversationIds.TryParseResponse(id, out string conversation, out int turn) ? (conversation, turn) : throw Unknown(id);
    }

    public static LongCtxException Unknown(string id) =>
        new(ErrorCode.NotFound, $"There is no response '{id}'; one that was made with 'store': false is not kept.");
}
