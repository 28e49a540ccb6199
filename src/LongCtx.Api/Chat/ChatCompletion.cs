using System.Text.Json.Serialization;

namespace LongCtx.Api.Chat;

/// <summary>A whole reply, in OpenAI's shape.</summary>
internal sealed record ChatCompletion(
    string Id, string Object, long Created, string Model, string SystemFingerprint, ChatChoice[] Choices, UsageBody Usage);

internal sealed record ChatChoice(int Index, ReplyMessage Message, LogprobList? Logprobs, string FinishReason);

internal sealed record ReplyMessage(string Role, string Content, string? Refusal = null);

/// <summary>A piece of a streamed reply, in OpenAI's shape.</summary>
internal sealed record ChatChunk(string Id, string Object, long Created, string Model, string SystemFingerprint, ChunkChoice[] Choices)
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public UsageBody? Usage { get; init; }

    /// <summary>In the last chunk always; in every chunk when `stream_options.include_longctx` is set.</summary>
    [JsonPropertyName("longctx"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public LongCtxBody? LongCtx { get; init; }
}

internal sealed record ChunkChoice(int Index, ChunkDelta Delta, LogprobList? Logprobs, string? FinishReason);

internal sealed record ChunkDelta
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Role { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Content { get; init; }
}
