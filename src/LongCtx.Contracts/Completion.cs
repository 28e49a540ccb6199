using System.Text.Json.Serialization;

namespace LongCtx;

/// <summary>One reply to a list of messages, or the continuation of a raw text. Nothing of it is stored.</summary>
public sealed record CompletionRequest
{
    /// <summary>Name of a loaded model; null is the server's first.</summary>
    public string? Model { get; init; }

    /// <summary>The chat so far, oldest first, rendered with the model's own template. Exactly one of this and <see cref="Prompt"/> is set.</summary>
    public IReadOnlyList<ChatMessage>? Messages { get; init; }

    /// <summary>Raw text to continue, without a template.</summary>
    public string? Prompt { get; init; }

    /// <summary>Most tokens to generate; null is until the model stops or the policy's bound is reached.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Texts that end the reply; they are not part of it.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>How many of the most likely alternatives to report for each token; null reports no log-probabilities at all.</summary>
    public int? TopLogprobs { get; init; }
}

/// <summary>What a completion sends, in this order: one <see cref="CompletionStarted"/>, any number of <see cref="CompletionDelta"/>,
/// one <see cref="CompletionFinished"/>. A refusal is a <see cref="LongCtxException"/> before the first.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind")]
[JsonDerivedType(typeof(CompletionStarted), "started")]
[JsonDerivedType(typeof(CompletionDelta), "delta")]
[JsonDerivedType(typeof(CompletionFinished), "finished")]
public abstract record CompletionEvent;

/// <summary>The prompt is accepted and in the cache; the first token follows.</summary>
public sealed record CompletionStarted(string Model, int PromptTokens, int CachedTokens) : CompletionEvent;

/// <summary>Text that became final; never ends inside a UTF-8 character. <paramref name="Tokens"/> may be empty or more than one.</summary>
public sealed record CompletionDelta(string Text, IReadOnlyList<TokenInfo> Tokens, WindowState Window) : CompletionEvent;

public sealed record CompletionFinished(FinishReason Reason, Usage Usage) : CompletionEvent;

/// <summary>A generated token. <paramref name="Bytes"/> is its exact UTF-8, which may be part of a character.</summary>
public sealed record TokenInfo(int Id, byte[] Bytes, float? Logprob, IReadOnlyList<TokenAlternative> Top);

public sealed record TokenAlternative(int Id, byte[] Bytes, float Logprob);

public enum FinishReason
{
    /// <summary>The model ended its turn, or a stop text was reached.</summary>
    Stop,

    /// <summary>The token limit or the policy's bound was reached.</summary>
    Length,

    /// <summary>The caller cancelled.</summary>
    Cancelled,
}

/// <summary>Token counts of one completion.</summary>
/// <param name="PromptTokens">Tokens of the whole prompt, those already cached included.</param>
/// <param name="CachedTokens">Prompt tokens that did not have to be computed.</param>
/// <param name="CompletionTokens">Generated tokens.</param>
/// <param name="EvictedTokens">Tokens that left the window during this completion.</param>
/// <param name="Window">State of the window at the end.</param>
/// <param name="PrefillSeconds">Time from admission to the first token.</param>
/// <param name="DecodeSeconds">Time from the first token to the last.</param>
public sealed record Usage(
    int PromptTokens, int CachedTokens, int CompletionTokens, int EvictedTokens, WindowState Window, double PrefillSeconds, double DecodeSeconds);

/// <summary>How full a sequence's window is.</summary>
/// <param name="Visible">Keys that the newest token sees, itself included.</param>
/// <param name="Capacity">Most keys a token may see; 0 is unlimited.</param>
/// <param name="Evicted">Tokens that have left the window since the sequence began.</param>
/// <param name="Total">Tokens of the sequence in all.</param>
public readonly record struct WindowState(int Visible, int Capacity, long Evicted, long Total)
{
    /// <summary>Tokens at the start of the sequence that never leave; the evicted ones followed them.</summary>
    public int Sinks { get; init; }
}
