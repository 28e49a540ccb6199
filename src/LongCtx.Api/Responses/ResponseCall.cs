namespace LongCtx.Api.Responses;

/// <summary>A response as asked for.</summary>
/// <param name="Model">Null is the conversation's, or the server's first.</param>
/// <param name="Conversation">Exclusive with <paramref name="PreviousResponseId"/>; without both, and stored, it gets a conversation of its own.</param>
/// <param name="Input">New messages; may be empty where the conversation ends in an unanswered one.</param>
/// <param name="Options">How the reply is generated; its origin is filled in when it is known.</param>
internal sealed record ResponseCall(
    string? Model, string? Conversation, string? PreviousResponseId, IReadOnlyList<ChatMessage> Input, string? Instructions, TurnOptions Options)
{
    public bool Stream { get; init; }

    /// <summary>Answer at once, with the turn in progress.</summary>
    public bool Background { get; init; }

    /// <summary>False: nothing is kept, not even an id.</summary>
    public bool Store { get; init; } = true;

    /// <summary>Wait for a turn that is being answered, instead of being refused.</summary>
    public bool Wait { get; init; }
}
