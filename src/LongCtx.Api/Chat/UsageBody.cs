using System.Text.Json.Serialization;

namespace LongCtx.Api.Chat;

/// <summary>OpenAI's token counts, and under `longctx` what it has no words for.</summary>
internal sealed record UsageBody(
    int PromptTokens, int CompletionTokens, int TotalTokens, PromptDetails PromptTokensDetails, CompletionDetails CompletionTokensDetails,
    [property: JsonPropertyName("longctx")] LongCtxBody LongCtx)
{
    public static UsageBody From(Usage usage, ulong seed) => new(
        usage.PromptTokens, usage.CompletionTokens, usage.PromptTokens + usage.CompletionTokens,
        new(usage.CachedTokens), new(), LongCtxBody.From(usage, seed));
}

internal sealed record PromptDetails(int CachedTokens, int AudioTokens = 0);

internal sealed record CompletionDetails(
    int ReasoningTokens = 0, int AudioTokens = 0, int AcceptedPredictionTokens = 0, int RejectedPredictionTokens = 0);

/// <summary>LongCtx's additions to a reply; a field is left out where it is not known yet.</summary>
internal sealed record LongCtxBody
{
    /// <summary>Sending it again with the same request gives the same reply.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public ulong? Seed { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? PromptTokens { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? CachedTokens { get; init; }

    /// <summary>Tokens that left the window during this reply.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? EvictedTokens { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public WindowBody? Window { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? PrefillSeconds { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? DecodeSeconds { get; init; }

    public static LongCtxBody From(Usage usage, ulong seed) => new()
    {
        Seed = seed,
        EvictedTokens = usage.EvictedTokens,
        Window = WindowBody.From(usage.Window),
        PrefillSeconds = usage.PrefillSeconds,
        DecodeSeconds = usage.DecodeSeconds,
    };
}

/// <summary>State of the window: keys seen by the newest token, most it may see (0: unlimited), tokens gone, tokens in all, tokens that never go.</summary>
internal sealed record WindowBody(int Visible, int Capacity, long Evicted, long Total, int Sinks)
{
    public static WindowBody From(WindowState state) => new(state.Visible, state.Capacity, state.Evicted, state.Total, state.Sinks);
}
