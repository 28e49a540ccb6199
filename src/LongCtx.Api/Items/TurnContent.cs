using System.Text;

namespace LongCtx.Api.Items;

/// <summary>What the journal says of one turn or append.</summary>
/// <param name="First">The event that began it: <see cref="TurnAccepted"/> or <see cref="InputAppended"/>.</param>
/// <param name="Reply">Text of the reply so far.</param>
/// <param name="Last">Its end; null while it is in progress.</param>
internal sealed record TurnContent(string Conversation, ConversationEvent First, string Reply, ConversationEvent? Last)
{
    /// <summary>Its messages in order; the reply, where there is one, is the last.</summary>
    public IReadOnlyList<MessageItem> Items()
    {
        IReadOnlyList<ChatMessage> messages = First is TurnAccepted turn ? turn.Messages : ((InputAppended)First).Messages;
        List<MessageItem> items = [.. messages.Select((m, i) => MessageItem.Create(ConversationIds.Message(Conversation, First.Turn, i + 1), m.Role, m.Content))];
        if (First is TurnAccepted) items.Add(MessageItem.Create(ConversationIds.Message(Conversation, First.Turn, items.Count + 1), "assistant", Reply, StatusAfter(Last)));
        return items;
    }

    /// <summary>Status of the reply's item.</summary>
    public static string StatusAfter(ConversationEvent? last) => last switch
    {
        null => "in_progress",
        Completed { Reason: FinishReason.Stop } => "completed",
        _ => "incomplete",
    };

    /// <summary>Text that an event adds to the reply.</summary>
    public static string TextOf(ConversationEvent e) => e switch
    {
        Delta delta => delta.Text,
        Completed completed => completed.Text,
        Cancelled cancelled => cancelled.Text,
        _ => "",
    };

    public static bool IsEnd(ConversationEvent e) => e is Completed or Failed or Cancelled;

    public static TurnContent From(string conversation, IEnumerable<ConversationEvent> events)
    {
        StringBuilder reply = new();
        ConversationEvent? first = null, last = null;
        foreach (ConversationEvent e in events)
        {
            first ??= e;
            reply.Append(TextOf(e));
            if (IsEnd(e)) last = e;
        }
        return new(conversation, first!, reply.ToString(), last);
    }
}
