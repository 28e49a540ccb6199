namespace LongCtx.Client;

/// <summary>
/// Events before <paramref name="First"/> are no longer retained: those between the last one seen and this are lost to this reader. What follows is
/// gapless again.
/// </summary>
public sealed record Gap(long First) : ConversationEvent;

/// <summary>A subscription to several conversations goes on without this one.</summary>
/// <param name="Code">Why: it was deleted, or does not exist.</param>
public sealed record Unsubscribed(ErrorCode Code, string Message) : ConversationEvent;
