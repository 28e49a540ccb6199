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

    /// <summary>Added to the logit of a token id.</summary>
    public IReadOnlyDictionary<int, float>? LogitBias { get; init; }

    public ulong Seed { get; init; }

    public const int PenaltyWindowMax = 1024;
}
