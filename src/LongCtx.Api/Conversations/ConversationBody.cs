using System.Text.Json.Serialization;

namespace LongCtx.Api.Conversations;

/// <summary>A conversation, in OpenAI's shape.</summary>
/// <param name="CreatedAt">Unix seconds.</param>
internal sealed record ConversationBody(
    string Id, string Object, long CreatedAt, IReadOnlyDictionary<string, string> Metadata,
    [property: JsonPropertyName("longctx")] ConversationDetails LongCtx)
{
    public static ConversationBody From(ConversationInfo info) => new(info.Id, "conversation", info.Created / 1000, info.Metadata, new(
        info.Model, info.Policy, info.Seq, info.FirstSeq, info.Turns, info.LiveTurn, info.Tokens, info.ForkedFrom));
}

/// <summary>What OpenAI has no words for.</summary>
/// <param name="Policy">The five numbers S,W,G,C,B; null before the first tokens.</param>
/// <param name="Seq">Of the newest event.</param>
/// <param name="FirstSeq">Of the oldest event that is retained.</param>
/// <param name="Turns">Turns and appends so far.</param>
/// <param name="LiveTurn">The turn that is being answered; 0 for none.</param>
/// <param name="Tokens">Length of the token log.</param>
/// <param name="ForkedFrom">Conversation and sequence number, as id@seq.</param>
internal sealed record ConversationDetails(
    string Model, string? Policy, long Seq, long FirstSeq, int Turns, int LiveTurn, long Tokens, string? ForkedFrom);
