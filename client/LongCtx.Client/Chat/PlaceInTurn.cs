using System.Text.Json;
using LongCtx.Client.Wire;
using Microsoft.Extensions.AI;

namespace LongCtx.Client.Chat;

/// <summary>What a continuation token says: which turn, and behind which event to go on.</summary>
internal sealed record PlaceInTurn(string Conversation, int Turn, long TurnSeq, long After)
{
    public ResponseContinuationToken ToToken() => ResponseContinuationToken.FromBytes(JsonSerializer.SerializeToUtf8Bytes(this, ClientJson.Default.PlaceInTurn));

    /// <exception cref="LongCtxException">The token is not one of ours.</exception>
    public static PlaceInTurn FromToken(ResponseContinuationToken token)
    {
        try
        {
            if (JsonSerializer.Deserialize(token.ToBytes().Span, ClientJson.Default.PlaceInTurn) is { Conversation: { } id, Turn: > 0, After: >= 0 } place && ConversationIds.IsConversation(id))
                return place;
        }
        catch (JsonException)
        {
            // Told below.
        }
        throw new LongCtxException(ErrorCode.InvalidRequest, "the continuation token is not one of LongCtx: pass the one of the newest update", "continuation_token");
    }
}
