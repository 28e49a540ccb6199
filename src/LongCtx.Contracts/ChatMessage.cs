namespace LongCtx;

/// <summary>One message of a chat. <paramref name="Role"/> is the template's word: system, user, assistant, developer or tool.</summary>
public sealed record ChatMessage(string Role, string Content);
