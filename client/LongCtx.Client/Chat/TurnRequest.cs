using Microsoft.Extensions.AI;

namespace LongCtx.Client.Chat;

/// <summary>A request of Microsoft.Extensions.AI as a turn: every option is honoured or refused by name.</summary>
/// <param name="Instructions">The system message in effect.</param>
internal sealed record TurnRequest(string? Conversation, string? Model, string? Instructions, SubmitTurn Turn)
{
    /// <summary>Key of <see cref="ChatOptions.AdditionalProperties"/>: the turn's id, which makes a repeated request safe.</summary>
    public const string TurnId = "turn_id";

    public static TurnRequest From(IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages, ChatOptions? options)
    {
        RefuseUnsupported(options);
        string turnId = TurnIdOf(options) ?? Guid.CreateVersion7().ToString();
        SubmitTurn turn = new(turnId, [.. messages.Select(Convert)])
        {
            Options = new()
            {
                MaxTokens = options?.MaxOutputTokens,
                Stop = options?.StopSequences?.ToArray() ?? [],
                Sampling = new()
                {
                    Temperature = options?.Temperature ?? 1,
                    TopP = options?.TopP ?? 1,
                    TopK = options?.TopK ?? 0,
                    FrequencyPenalty = options?.FrequencyPenalty ?? 0,
                    PresencePenalty = options?.PresencePenalty ?? 0,
                    Seed = options?.Seed is { } seed ? (ulong)seed : LongCtxClient.SeedOf(turnId),
                },
            },
        };
        turn.Options.Sampling.Validate();
        return new(options?.ConversationId, options?.ModelId, options?.Instructions, turn);
    }

    static ChatMessage Convert(Microsoft.Extensions.AI.ChatMessage message)
    {
        string role = message.Role.Value;
        if (role is not ("system" or "developer" or "user" or "assistant")) throw Unsupported($"messages of role '{role}'");
        if (message.Contents.FirstOrDefault(c => c is not TextContent) is { } other) throw Unsupported($"contents of type {other.GetType().Name}");
        return new(role, message.Text);
    }

    static void RefuseUnsupported(ChatOptions? options)
    {
        if (options is null) return;
        if (options.Tools is { Count: > 0 }) throw Unsupported("tools");
        if (options.ResponseFormat is not (null or ChatResponseFormatText)) throw Unsupported($"a response format of {options.ResponseFormat.GetType().Name}");
        if (options.Reasoning is not null) throw Unsupported("reasoning options");
        if (options.Seed < 0) throw new LongCtxException(ErrorCode.InvalidRequest, $"the seed must be 0 or more, not {options.Seed}", "seed");
        foreach (string name in options.AdditionalProperties?.Keys.Where(k => k != TurnId) ?? []) throw Unsupported($"the additional property '{name}'");
    }

    static string? TurnIdOf(ChatOptions? options)
    {
        if (options?.AdditionalProperties?.TryGetValue(TurnId, out object? value) is not true) return null;
        return value as string ?? throw new LongCtxException(ErrorCode.InvalidRequest, $"the additional property '{TurnId}' must be a string", TurnId);
    }

    static LongCtxException Unsupported(string what) => new(ErrorCode.UnsupportedParameter, $"{what} are not implemented by LongCtx: leave them out");
}
