namespace LongCtx;

/// <summary>
/// How the next token is drawn from the logits. Order of application: penalties and bias on the logits, temperature, top-k, top-p,
/// min-p, draw. Every draw depends on (<see cref="Seed"/>, absolute token index) alone, so a continuation needs no hidden state.
/// </summary>
public sealed record SamplingOptions
{
    public static readonly SamplingOptions Greedy = new() { Temperature = 0 };

    /// <summary>0 is greedy; 0..2.</summary>
    public float Temperature { get; init; } = 1;

    /// <summary>Keep the k most likely tokens; 0 keeps all.</summary>
    public int TopK { get; init; }

    /// <summary>Keep the smallest set of tokens whose probability reaches this; (0..1].</summary>
    public float TopP { get; init; } = 1;

    /// <summary>Drop tokens less likely than this share of the most likely one; [0..1].</summary>
    public float MinP { get; init; }

    /// <summary>Divides positive and multiplies negative logits of tokens in the penalty window; 1 is off; (0..10].</summary>
    public float RepetitionPenalty { get; init; } = 1;

    /// <summary>Subtracted once from tokens in the penalty window; -2..2.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Subtracted once for each occurrence in the penalty window; -2..2.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>How many of the newest tokens the penalties look at; 0..1024.</summary>
    public int PenaltyWindow { get; init; } = PenaltyWindowMax;

    /// <summary>Added to the logit of a token id; -100..100.</summary>
    public IReadOnlyDictionary<int, float>? LogitBias { get; init; }

    public ulong Seed { get; init; }

    public const int PenaltyWindowMax = 1024;

    /// <summary>Refuses a value out of its range. Token ids of the bias are checked where the vocabulary is known.</summary>
    public void Validate()
    {
        Require(Temperature is >= 0 and <= 2, "temperature", "from 0 to 2", Temperature);
        Require(TopK >= 0, "top_k", "0 (all tokens) or more", TopK);
        Require(TopP is > 0 and <= 1, "top_p", "more than 0 and at most 1", TopP);
        Require(MinP is >= 0 and <= 1, "min_p", "from 0 to 1", MinP);
        Require(RepetitionPenalty is > 0 and <= 10, "repetition_penalty", "more than 0 and at most 10", RepetitionPenalty);
        Require(PresencePenalty is >= -2 and <= 2, "presence_penalty", "from -2 to 2", PresencePenalty);
        Require(FrequencyPenalty is >= -2 and <= 2, "frequency_penalty", "from -2 to 2", FrequencyPenalty);
        Require(PenaltyWindow is >= 0 and <= PenaltyWindowMax, "penalty_window", $"from 0 to {PenaltyWindowMax}", PenaltyWindow);
        foreach ((int token, float bias) in LogitBias ?? new Dictionary<int, float>())
        {
            Require(token >= 0, "logit_bias", "a token id of 0 or more for each key", token);
            Require(bias is >= -100 and <= 100, "logit_bias", "from -100 to 100 for each token", bias);
        }
    }

    // NaN fails every range above.
    static void Require<T>(bool valid, string parameter, string range, T value)
    {
        if (!valid) throw new LongCtxException(ErrorCode.InvalidRequest, $"{parameter} must be {range}, not {value}.", parameter);
    }
}
