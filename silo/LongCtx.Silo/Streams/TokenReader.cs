namespace LongCtx.Silo.Streams;

/// <summary>Makes a dense sequence of what a stream delivers: drops what was seen, and reads what is missing from the journal.</summary>
/// <param name="host">Repairs gaps.</param>
/// <param name="after">The last event that was seen.</param>
public sealed class TokenReader(IConversationHost host, string tenant, string conversation, long after = 0)
{
    const int EventsMax = 256;

    /// <summary>The last event that was handed out.</summary>
    public long Last { get; private set; } = after;

    /// <summary>The events that follow <see cref="Last"/>, up to the end of the batch; none for a batch that was seen.</summary>
    public async Task<IReadOnlyList<ConversationEvent>> TakeAsync(TokenBatch batch, CancellationToken cancellation = default)
    {
        List<ConversationEvent> next = [];
        foreach (ConversationEvent e in batch.ToEvents().Where(e => e.Seq > Last))
        {
            while (e.Seq > Last + 1)
            {
                EventPage page = await host.ReadEventsAsync(tenant, conversation, Last, (int)Math.Min(EventsMax, e.Seq - Last - 1), TimeSpan.Zero, cancellation);
                if (page.Gap > 0) Last = page.Gap - 1;
                else if (page.Events.Count == 0) break; // the journal is behind the stream: it was rewound
                else Add(page.Events);
            }

            if (e.Seq == Last + 1) Add([e]);
        }

        return next;

        void Add(IReadOnlyList<ConversationEvent> events)
        {
            next.AddRange(events);
            Last = events[^1].Seq;
        }
    }
}
