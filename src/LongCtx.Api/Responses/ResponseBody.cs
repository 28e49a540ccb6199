using System.Text.Json.Serialization;
using LongCtx.Api.Chat;
using LongCtx.Api.Items;

namespace LongCtx.Api.Responses;

/// <summary>A response, in OpenAI's shape.</summary>
/// <param name="CreatedAt">Unix seconds.</param>
/// <param name="Status">in_progress, completed, incomplete, cancelled or failed.</param>
internal sealed record ResponseBody(
    string Id, string Object, long CreatedAt, string Status, bool Background, ConversationReference? Conversation, ResponseError? Error,
    IncompleteDetails? IncompleteDetails, string? Instructions, int? MaxOutputTokens, IReadOnlyDictionary<string, string> Metadata, string Model,
    IReadOnlyList<MessageItem> Output, bool ParallelToolCalls, string? PreviousResponseId, bool Store, float Temperature, TextSettings Text,
    string ToolChoice, string[] Tools, float TopP, string Truncation, ResponseUsage? Usage,
    [property: JsonPropertyName("longctx")] ResponseDetails LongCtx);

internal sealed record ConversationReference(string Id);

/// <param name="Code">As in an error answer.</param>
internal sealed record ResponseError(string Code, string Message);

internal sealed record IncompleteDetails(string Reason);

internal sealed record TextSettings(TextFormat Format);

internal sealed record TextFormat(string Type);

internal sealed record ResponseUsage(
    long InputTokens, InputTokensDetails InputTokensDetails, long OutputTokens, OutputTokensDetails OutputTokensDetails, long TotalTokens)
{
    public static ResponseUsage From(TurnUsage usage) => new(
        usage.InputTokens, new(usage.CachedTokens), usage.OutputTokens, new(0), usage.InputTokens + usage.OutputTokens);
}

internal sealed record InputTokensDetails(long CachedTokens);

internal sealed record OutputTokensDetails(long ReasoningTokens);

/// <summary>What OpenAI has no words for; a field is left out where it is not known yet.</summary>
internal sealed record ResponseDetails
{
    /// <summary>Index of the turn in its conversation.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? Turn { get; init; }

    /// <summary>Of the turn's first event in the conversation's journal.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? Seq { get; init; }

    public ulong Seed { get; init; }

    /// <summary>Tokens that left the window during this turn.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? EvictedTokens { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public WindowBody? Window { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? PrefillSeconds { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? DecodeSeconds { get; init; }

    /// <summary>How the cache was brought back before this turn: exact, replay or refill; left out where it was still there.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public RestoreGrade? Restored { get; init; }
}
