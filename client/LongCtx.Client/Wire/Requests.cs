namespace LongCtx.Client.Wire;

internal sealed record MessageBody(string Role, string Content);

internal sealed record CreateBody(string? Model, IReadOnlyDictionary<string, string>? Metadata, MessageBody[]? Items, AdapterSettings? Adapter);

internal sealed record MetadataBody(IReadOnlyDictionary<string, string> Metadata);

internal sealed record ForkBody(long? At);

/// <summary>A command that says all by its address.</summary>
internal sealed record NothingBody;

internal sealed record AppendBody(MessageBody[] Items, string? Producer, long? Number, bool Wait);

/// <summary>A turn as POST /v1/responses takes it. The server's defaults are the contract's, so everything is sent as it is.</summary>
internal sealed record TurnBody(string Conversation, string? Model, MessageBody[] Input, string? Instructions, bool Background, bool Wait)
{
    public int? MaxOutputTokens { get; init; }

    public IReadOnlyList<string>? Stop { get; init; }

    public float Temperature { get; init; }

    public float TopP { get; init; }

    public int TopK { get; init; }

    public float MinP { get; init; }

    public float PresencePenalty { get; init; }

    public float FrequencyPenalty { get; init; }

    public float RepetitionPenalty { get; init; }

    public int PenaltyWindow { get; init; }

    public IReadOnlyDictionary<int, float>? LogitBias { get; init; }

    public ulong Seed { get; init; }

    public IReadOnlyDictionary<string, string>? Metadata { get; init; }

    public static TurnBody From(string conversation, SubmitTurn turn, string? model, string? instructions) => new(
        conversation, model, [.. turn.Messages.Select(m => new MessageBody(m.Role, m.Content))], instructions, Background: true, turn.Wait)
    {
        MaxOutputTokens = turn.Options.MaxTokens,
        Stop = turn.Options.Stop.Count > 0 ? turn.Options.Stop : null,
        Temperature = turn.Options.Sampling.Temperature,
        TopP = turn.Options.Sampling.TopP,
        TopK = turn.Options.Sampling.TopK,
        MinP = turn.Options.Sampling.MinP,
        PresencePenalty = turn.Options.Sampling.PresencePenalty,
        FrequencyPenalty = turn.Options.Sampling.FrequencyPenalty,
        RepetitionPenalty = turn.Options.Sampling.RepetitionPenalty,
        PenaltyWindow = turn.Options.Sampling.PenaltyWindow,
        LogitBias = turn.Options.Sampling.LogitBias,
        Seed = turn.Options.Sampling.Seed,
        Metadata = turn.Options.Metadata,
    };
}
