using LongCtx.Client;

namespace LongCtx.Cli.Chat;

/// <param name="Seq">Of the event with which it begins.</param>
internal sealed record SaidMessage(int Turn, long Seq, string Role, string Content);

/// <summary>A journal as messages.</summary>
/// <param name="Live">The turn that is being answered; its reply so far is the last message. Null when none is.</param>
internal sealed record SaidMessages(IReadOnlyList<SaidMessage> All, AcceptedTurn? Live)
{
    /// <summary>Reads events up to one with at least the number <paramref name="head"/>.</summary>
    /// <param name="events">A subscription to one conversation.</param>
    /// <param name="head">As the conversation stood before.</param>
    /// <param name="warn">Is told what is missing.</param>
    public static async Task<SaidMessages> ReadAsync(IAsyncEnumerable<ConversationEvent> events, long head, Action<string> warn)
    {
        List<SaidMessage> messages = [];
        AcceptedTurn? live = null;
        if (head == 0) return new(messages, live);
        await foreach (ConversationEvent e in events)
        {
            switch (e)
            {
                case Gap gap:
                    warn($"what was said before event {gap.First} is no longer kept");
                    break;
                case InputAppended input:
                    messages.AddRange(input.Messages.Select(m => new SaidMessage(e.Turn, e.Seq, m.Role, m.Content)));
                    break;
                case TurnAccepted turn:
                    messages.AddRange(turn.Messages.Select(m => new SaidMessage(e.Turn, e.Seq, m.Role, m.Content)));
                    messages.Add(new(e.Turn, e.Seq, "assistant", ""));
                    live = new(e.Conversation!, e.Turn, e.Seq);
                    break;
                case Delta { Text: { } text }:
                    Append(text);
                    break;
                case Completed { Text: { } text }:
                    Append(text);
                    live = null;
                    break;
                case Cancelled { Text: { } text }:
                    Append(text);
                    live = null;
                    break;
                case Failed failed:
                    warn($"turn {e.Turn} failed: {failed.Message}");
                    live = null;
                    break;
            }
            // The journal may have become shorter than it was when its head was asked for.
            if (e.Seq >= head || (e is Rewound rewound && rewound.Head == e.Seq)) break;

            void Append(string text)
            {
                // The beginning of this turn may be no longer kept.
                if (messages is not [.., { Role: "assistant" } last] || last.Turn != e.Turn) messages.Add(last = new(e.Turn, e.Seq, "assistant", ""));
                messages[^1] = last with { Content = last.Content + text };
            }
        }
        return new(messages, live);
    }
}
