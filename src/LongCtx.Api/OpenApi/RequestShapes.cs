using System.ComponentModel;

namespace LongCtx.Api.OpenApi;

// What the endpoints read, field by field, as the OpenAPI document shows it. The readers themselves are strict and hand-written; a test sends
// every field that stands here to its endpoint.

internal record SamplingShape
{
    [Description("0 (greedy) to 2.")]
    public float? Temperature { get; init; }

    [Description("More than 0, at most 1.")]
    public float? TopP { get; init; }

    [Description("Keep the k most likely tokens; 0 keeps all. LongCtx's own.")]
    public int? TopK { get; init; }

    [Description("Drop tokens less likely than this share of the most likely one; 0 to 1. LongCtx's own.")]
    public float? MinP { get; init; }

    [Description("-2 to 2.")]
    public float? PresencePenalty { get; init; }

    [Description("-2 to 2.")]
    public float? FrequencyPenalty { get; init; }

    [Description("More than 0, at most 10; 1 is off. LongCtx's own.")]
    public float? RepetitionPenalty { get; init; }

    [Description("How many of the newest tokens the penalties look at; 0 to 1024. LongCtx's own.")]
    public int? PenaltyWindow { get; init; }

    [Description("Added to the logit of a token id; -100 to 100.")]
    public Dictionary<string, float>? LogitBias { get; init; }

    [Description("Any 64-bit integer; the same seed and the same conversation give the same reply.")]
    public long? Seed { get; init; }

    [Description("Texts that end the reply; up to 4.")]
    [OneOf(typeof(string), typeof(string[]))]
    public object? Stop { get; init; }
}

internal sealed record ChatRequest : SamplingShape
{
    [Description("Name of a loaded model; otherwise the server's first.")]
    public string? Model { get; init; }

    public required ChatMessageShape[] Messages { get; init; }

    [Description("Most tokens to generate.")]
    public int? MaxCompletionTokens { get; init; }

    [Description("Older name of max_completion_tokens.")]
    public int? MaxTokens { get; init; }

    public bool? Stream { get; init; }

    public StreamOptionsShape? StreamOptions { get; init; }

    public bool? Logprobs { get; init; }

    [Description("0 to 20; needs logprobs.")]
    public int? TopLogprobs { get; init; }
}

internal sealed record StreamOptionsShape
{
    [Description("A last chunk with the usage.")]
    public bool? IncludeUsage { get; init; }

    [Description("The state of the window with every chunk. LongCtx's own.")]
    [System.Text.Json.Serialization.JsonPropertyName("include_longctx")]
    public bool? IncludeLongCtx { get; init; }
}

internal sealed record ChatMessageShape
{
    [Description("system, developer, user, assistant or tool.")]
    public required string Role { get; init; }

    [OneOf(typeof(string), typeof(TextPartShape[]))]
    public required object Content { get; init; }
}

internal sealed record TextPartShape
{
    [Description("text; in items input_text or output_text.")]
    public required string Type { get; init; }

    public required string Text { get; init; }
}

internal sealed record StaticAdapterShape
{
    [Description("1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'.")]
    public required string Name { get; init; }

    [Description("A PEFT directory that the server can read.")]
    public required string Path { get; init; }

    [Description("The decoder that it adapts; otherwise the default.")]
    public string? Model { get; init; }
}

internal sealed record EmbeddingShape
{
    public string? Model { get; init; }

    [OneOf(typeof(string), typeof(string[]))]
    public required object Input { get; init; }

    [Description("float (otherwise) or base64.")]
    public string? EncodingFormat { get; init; }
}

internal sealed record MetadataShape
{
    [Description("Up to 16 pairs; names of up to 64 characters, values of up to 512.")]
    public required Dictionary<string, string> Metadata { get; init; }
}

internal sealed record ConversationShape
{
    [Description("Up to 16 pairs; names of up to 64 characters, values of up to 512.")]
    public Dictionary<string, string>? Metadata { get; init; }

    [Description("Up to 20 messages that the conversation begins with.")]
    public ItemShape[]? Items { get; init; }

    [Description("Name of a loaded model, for good; otherwise the server's first. LongCtx's own.")]
    public string? Model { get; init; }

    [Description("The conversation learns from its own text. LongCtx's own.")]
    public AdapterShape? Adapter { get; init; }
}

internal sealed record AdapterShape
{
    [Description("1 to 256; otherwise 16.")]
    public int? Rank { get; init; }

    [Description("The low-rank product is scaled by alpha / rank; above 0, otherwise 16.")]
    public double? Alpha { get; init; }

    [Description("Projections that are adapted: any of q, k, v, o, gate, up, down; otherwise all.")]
    public string[]? Targets { get; init; }

    [Description("Of AdamW; above 0, at most 1; otherwise 0.001.")]
    public double? LearningRate { get; init; }

    [Description("Optimiser steps on each chunk; 1 to 16, otherwise 2.")]
    public int? Epochs { get; init; }

    [Description("Tokens that are learned at once; 16 to 4096, otherwise 256.")]
    public int? Chunk { get; init; }

    [Description("Tokens before a chunk that are its context while it is learned; 0 to 4096, otherwise 256.")]
    public int? Prefix { get; init; }

    [Description("recompute (otherwise) computes prefix and chunk anew, cached learns against the conversation's live cache.")]
    public string? Mode { get; init; }

    [Description("Nothing is learned before the conversation has this many tokens; otherwise the capacity of its window.")]
    public long? StartAfter { get; init; }

    [Description("Leave the last tenth of a chunk out of the loss, and reject an update that makes it worse; otherwise true.")]
    public bool? Guard { get; init; }

    [Description("0 up to but not 1; otherwise 0.")]
    public double? Dropout { get; init; }

    [Description("0 to 1; otherwise 0.")]
    public double? WeightDecay { get; init; }

    [Description("Largest global norm of a gradient; 0 does not clip, otherwise 1.")]
    public double? GradientClip { get; init; }

    [Description("Chunks until the learning rate is whole; 1 to 100, otherwise 2.")]
    public int? WarmUp { get; init; }

    [Description("Most versions that the oldest key in the window may be behind before the window is computed anew; otherwise any.")]
    public int? MaxStale { get; init; }
}

internal sealed record ItemShape
{
    [Description("message (otherwise).")]
    public string? Type { get; init; }

    [Description("system, developer, user or assistant.")]
    public required string Role { get; init; }

    [OneOf(typeof(string), typeof(TextPartShape[]))]
    public required object Content { get; init; }
}

internal sealed record ItemsShape
{
    [Description("1 to 20 messages.")]
    public required ItemShape[] Items { get; init; }

    [Description("Who feeds; with number, a piece that is sent again is appended once. LongCtx's own.")]
    public string? Producer { get; init; }

    [Description("The producer's number of this piece: 1, 2, 3, ... LongCtx's own.")]
    public long? Number { get; init; }

    [Description("Wait for a turn that is being answered, instead of being refused with 409. LongCtx's own.")]
    public bool? Wait { get; init; }
}

internal sealed record ForkShape
{
    [Description("Sequence number of the last event that is kept; otherwise all.")]
    public long? At { get; init; }
}

internal sealed record ResponseRequest : SamplingShape
{
    [Description("Name of a loaded model; otherwise the conversation's, or the server's first. It must be the conversation's.")]
    public string? Model { get; init; }

    [Description("New messages.")]
    [OneOf(typeof(string), typeof(ItemShape[]))]
    public object? Input { get; init; }

    [Description("The system turn of a conversation that begins; later, where they differ from the last ones, a system message of this turn.")]
    public string? Instructions { get; init; }

    [Description("Excludes previous_response_id.")]
    [OneOf(typeof(string), typeof(Responses.ConversationReference))]
    public object? Conversation { get; init; }

    [Description("Continues its conversation where it is the newest turn there, otherwise a fork that ends with it.")]
    public string? PreviousResponseId { get; init; }

    public bool? Stream { get; init; }

    [Description("Answer at once, with the response in progress.")]
    public bool? Background { get; init; }

    [Description("False: nothing is kept; no conversation.")]
    public bool? Store { get; init; }

    [Description("Wait for a turn that is being answered, instead of being refused with 409. LongCtx's own.")]
    public bool? Wait { get; init; }

    [Description("Most tokens to generate.")]
    public int? MaxOutputTokens { get; init; }

    [Description("Up to 16 pairs; names of up to 64 characters, values of up to 512.")]
    public Dictionary<string, string>? Metadata { get; init; }
}

/// <summary>The JSON value is one of several shapes.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class OneOfAttribute(params Type[] types) : Attribute
{
    public IReadOnlyList<Type> Types { get; } = types;
}
