using System.Diagnostics.Metrics;

namespace LongCtx.Conversations.Local;

/// <summary>Counters of durable conversations, under the meter <c>LongCtx</c>.</summary>
internal static class ConversationMetrics
{
    static readonly Meter s_meter = new("LongCtx");
    static readonly Counter<long> s_commits = s_meter.CreateCounter<long>("longctx.commits", description: "Appends acknowledged by the store");
    static readonly Counter<long> s_events = s_meter.CreateCounter<long>("longctx.events", description: "Journal events stored");
    static readonly Counter<long> s_turns = s_meter.CreateCounter<long>("longctx.turns", description: "Turns that ended");
    static readonly Counter<long> s_tokens = s_meter.CreateCounter<long>("longctx.tokens.generated", description: "Tokens of replies, as stored");
    static readonly Counter<long> s_input = s_meter.CreateCounter<long>("longctx.tokens.input", description: "Tokens of turns and appends, as stored");
    static readonly Counter<long> s_evicted = s_meter.CreateCounter<long>("longctx.tokens.evicted", description: "Tokens that were written as segments");
    static readonly Counter<long> s_cached = s_meter.CreateCounter<long>("longctx.tokens.cached", description: "Tokens of the log that a turn found computed");

    /// <summary>Of one acknowledged append.</summary>
    public static void Count(IReadOnlyList<ConversationEvent> events)
    {
        s_commits.Add(1);
        s_events.Add(events.Count);
        foreach (ConversationEvent e in events)
        {
            switch (e)
            {
                case TurnAccepted or InputAppended:
                    s_input.Add(e.TokenCount);
                    break;
                case Evicted evicted:
                    s_evicted.Add(evicted.Count);
                    break;
                case Completed or Cancelled or Failed:
                    s_turns.Add(1);
                    s_tokens.Add(e.TokenCount);
                    s_cached.Add((e as Completed)?.Usage.CachedTokens ?? (e as Cancelled)?.Usage.CachedTokens ?? 0);
                    break;
                default:
                    s_tokens.Add(e.TokenCount);
                    break;
            }
        }
    }
}
