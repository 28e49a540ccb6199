using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations;

internal static class Refusals
{
    public static LongCtxException NotFound(string id) => new(ErrorCode.NotFound, $"there is no conversation {id}");

    public static LongCtxException Deleted(string id) => new(ErrorCode.Deleted, $"conversation {id} was deleted");

    public static LongCtxException Unavailable(StoreException e) => new(ErrorCode.StoreUnavailable, e.Message, inner: e);

    public static LongCtxException Invalid(string problem, string parameter) => new(ErrorCode.InvalidRequest, problem, parameter);
}
