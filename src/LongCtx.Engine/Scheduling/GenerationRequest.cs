namespace LongCtx.Engine.Scheduling;

/// <summary>What to append to a sequence and how to go on from there.</summary>
public sealed record GenerationRequest
{
    /// <summary>A pinned sequence; one generation at a time.</summary>
    public required Sequence Sequence { get; init; }

    /// <summary>Appended before generating. May be empty only if the sequence ends in a token that has not been computed yet.</summary>
    public required ReadOnlyMemory<int> Tokens { get; init; }

    /// <summary>Offsets in <see cref="Tokens"/> at which a turn of the chat begins, ascending.</summary>
    public IReadOnlyList<int> TurnStarts { get; init; } = [];

    /// <summary>
    /// Ids of this reply that were generated earlier, before a crash for instance: the newest tokens of the sequence with
    /// <see cref="Tokens"/> appended. The generation goes on as if it had never been interrupted, and nothing of their text is emitted again.
    /// </summary>
    public IReadOnlyList<int> Resumed { get; init; } = [];

    /// <summary>Only computes <see cref="Tokens"/>: nothing is sampled, and the result (<see cref="FinishReason.Length"/>) has no tokens.</summary>
    public bool FeedOnly { get; init; }

    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>Most tokens of the reply, <see cref="Resumed"/> included; at least 1. Without meaning if <see cref="FeedOnly"/>.</summary>
    public int MaxTokens { get; init; } = int.MaxValue;

    /// <summary>Tokens that end the reply and do not belong to it.</summary>
    public IReadOnlySet<int> StopTokens { get; init; } = new HashSet<int>();

    /// <summary>Texts that end the reply and do not belong to it.</summary>
    public IReadOnlyList<string> StopTexts { get; init; } = [];

    /// <summary>Alternatives to report for each token; null reports no log-probabilities.</summary>
    public int? TopLogprobs { get; init; }
}

/// <summary>A generated token. <paramref name="Text"/> is what became final with it, possibly nothing.</summary>
public readonly record struct GeneratedToken(int Id, string Text, TokenInfo? Info, WindowState Window)
{
    /// <summary>When it was sampled, by the clock of <see cref="EngineOptions.Time"/>: whenever somebody reads it.</summary>
    public long At { get; init; }

    /// <summary>How many tokens of this generation, the first ones, no stop text can cut off any more; resumed ones are not counted.</summary>
    public int SettledTokens { get; init; }

    /// <summary>Characters of the generation's text that those tokens cover.</summary>
    public int SettledChars { get; init; }
}

/// <summary>How a generation ended.</summary>
/// <param name="Reason">Why it ended.</param>
/// <param name="Text">The whole reply.</param>
/// <param name="PromptTokens">Tokens appended before the reply.</param>
/// <param name="CompletionTokens">Tokens of the reply, a stop token and resumed ones included.</param>
/// <param name="EvictedTokens">Tokens that left the window since the admission.</param>
/// <param name="Window">State of the window at the end.</param>
/// <param name="PrefillSeconds">From admission to the first token.</param>
/// <param name="DecodeSeconds">From the first token to the last.</param>
/// <param name="Ids">The tokens of the reply that are part of the sequence now.</param>
/// <param name="TextBeyond">
/// End of <paramref name="Text"/> that <paramref name="Ids"/> do not cover, so feed it with the next turn: a stop text cut a token, or it was
/// cancelled before all resumed tokens were fed.
/// </param>
public sealed record GenerationResult(
    FinishReason Reason, string Text, int PromptTokens, int CompletionTokens, int EvictedTokens, WindowState Window,
    double PrefillSeconds, double DecodeSeconds, IReadOnlyList<int> Ids, string TextBeyond)
{
    /// <summary>How much of <see cref="Text"/> the resumed tokens gave.</summary>
    public int ResumedChars { get; init; }
}
