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

    public SamplingOptions Sampling { get; init; } = new();

    public int MaxTokens { get; init; } = int.MaxValue;

    /// <summary>Tokens that end the reply and do not belong to it.</summary>
    public IReadOnlySet<int> StopTokens { get; init; } = new HashSet<int>();

    /// <summary>Texts that end the reply and do not belong to it.</summary>
    public IReadOnlyList<string> StopTexts { get; init; } = [];

    /// <summary>Alternatives to report for each token; null reports no log-probabilities.</summary>
    public int? TopLogprobs { get; init; }
}

/// <summary>A generated token. <paramref name="Text"/> is what became final with it, possibly nothing.</summary>
public readonly record struct GeneratedToken(int Id, string Text, TokenInfo? Info, WindowState Window);

/// <summary>How a generation ended.</summary>
/// <param name="Reason">Why it ended.</param>
/// <param name="Text">The whole reply.</param>
/// <param name="PromptTokens">Tokens appended before generating.</param>
/// <param name="CompletionTokens">Tokens generated, a stop token included.</param>
/// <param name="EvictedTokens">Tokens that left the window meanwhile.</param>
/// <param name="Window">State of the window at the end.</param>
/// <param name="PrefillSeconds">From admission to the first token.</param>
/// <param name="DecodeSeconds">From the first token to the last.</param>
/// <param name="Ids">The generated tokens that are part of the sequence now.</param>
/// <param name="TextBeyond">End of <paramref name="Text"/> that <paramref name="Ids"/> do not cover: a stop text cut a token, so feed this text with the next turn.</param>
public sealed record GenerationResult(
    FinishReason Reason, string Text, int PromptTokens, int CompletionTokens, int EvictedTokens, WindowState Window,
    double PrefillSeconds, double DecodeSeconds, IReadOnlyList<int> Ids, string TextBeyond);
