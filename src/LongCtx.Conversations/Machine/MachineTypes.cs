using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Machine;

/// <summary>Messages as tokens that continue the log.</summary>
/// <param name="Ids">At least one.</param>
/// <param name="TurnStarts">Offsets in <paramref name="Ids"/> at which a turn of the chat begins.</param>
/// <param name="Policy">For the first tokens of a conversation: the policy it gets.</param>
public sealed record PreparedInput(int[] Ids, int[] TurnStarts, string? Policy);

/// <summary>How the engine ended a reply.</summary>
/// <param name="Ids">Tokens of the reply that belong to the log and were not reported before.</param>
/// <param name="Text">Text that was not reported before.</param>
/// <param name="Beyond">End of the whole reply's text that the tokens do not cover.</param>
public sealed record ReplyEnd(FinishReason Reason, int[] Ids, string Text, string Beyond, TurnUsage Usage);

/// <summary>What the machine asks its driver to do.</summary>
public abstract record Effect;

/// <summary>Send a batch to the store; its result is the next <see cref="ConversationMachine.Stored"/>. Never two at a time.</summary>
public sealed record Append(AppendBatch Batch) : Effect;

/// <summary>Show stored events to subscribers, in order.</summary>
public sealed record Publish(IReadOnlyList<ConversationEvent> Events) : Effect;

/// <summary>Let the engine answer the live turn, behind the log as it stands; tokens from the reply's start on are its beginning, from before a crash.</summary>
public sealed record StartReply(LiveTurn Turn) : Effect;

/// <summary>Let the engine compute input that waits for no reply.</summary>
public sealed record Prefill : Effect;

/// <summary>Let the engine stop the reply within one step; its end is still reported.</summary>
public sealed record StopReply : Effect;

/// <summary>Compute keys from <see cref="AdapterUpdated.FirstToken"/> on under another version: its event is stored.</summary>
public sealed record UseAdapter(AdapterUpdated Update) : Effect;

/// <summary>Answer a request: a <see cref="TurnTicket"/>, <see cref="InputAck"/>, <see cref="TurnInfo"/> or <see cref="AdapterInfo"/>, or the failure.</summary>
public sealed record Answer(object Request, object? Result, Exception? Failure) : Effect;

/// <summary>This owner is done with the conversation: another one has it, or the store does not take its writes. What was not stored was never shown.</summary>
/// <param name="Status">Fenced, Conflict or Gone; null for a failure of the store.</param>
public sealed record Leave(AppendStatus? Status, Exception? Failure) : Effect;
