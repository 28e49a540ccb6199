using System.Runtime.CompilerServices;

namespace LongCtx.Api.Items;

/// <summary>Reads turns out of the journal, without reading what lies between them.</summary>
internal sealed class TurnReader(IConversationHost host)
{
    public const string GapCode = "gap";

    const int EventsMax = 512;

    /// <summary>The turn or append with this index.</summary>
    /// <exception cref="LongCtxException">There is none.</exception>
    public async ValueTask<TurnInfo> FindAsync(string tenant, string conversation, int turn, string name, CancellationToken cancellation)
    {
        IReadOnlyList<TurnInfo> turns = await host.ListTurnsAsync(tenant, conversation, turn - 1, 1, descending: false, cancellation);
        return turns is [var found] && found.Turn == turn ? found : throw new LongCtxException(ErrorCode.NotFound, $"There is no {name}: the conversation has no such turn.");
    }

    /// <summary>The newest turn that is no append, below <paramref name="before"/> (0: of all); null when there is none.</summary>
    public async ValueTask<TurnInfo?> NewestReplyAsync(string tenant, string conversation, int before, CancellationToken cancellation)
    {
        const int PageMax = 20;
        while (true)
        {
            IReadOnlyList<TurnInfo> turns = await host.ListTurnsAsync(tenant, conversation, before, PageMax, descending: true, cancellation);
            if (turns.FirstOrDefault(t => t.Status != TurnStatus.Input) is { } found) return found;
            if (turns.Count < PageMax || turns[^1].Turn == 1) return null;
            before = turns[^1].Turn;
        }
    }

    /// <summary>The event that began a turn.</summary>
    public async ValueTask<ConversationEvent> FirstEventAsync(string tenant, string conversation, TurnInfo turn, CancellationToken cancellation)
    {
        EventPage page = await host.ReadEventsAsync(tenant, conversation, turn.StartSeq - 1, 1, TimeSpan.Zero, cancellation);
        return page.Gap == 0 && page.Events is [var first, ..] ? first : throw Gap(page.Gap);
    }

    /// <summary>All that is stored of a turn so far.</summary>
    public async ValueTask<TurnContent> ReadAsync(string tenant, string conversation, TurnInfo turn, CancellationToken cancellation)
    {
        if (turn.Status == TurnStatus.Input) return TurnContent.From(conversation, [await FirstEventAsync(tenant, conversation, turn, cancellation)]);
        List<ConversationEvent> events = [];
        await foreach (ConversationEvent e in EventsAsync(tenant, conversation, turn, cancellation)) events.Add(e);
        return TurnContent.From(conversation, events);
    }

    /// <summary>The events of a turn that are stored so far.</summary>
    public async IAsyncEnumerable<ConversationEvent> EventsAsync(
        string tenant, string conversation, TurnInfo turn, [EnumeratorCancellation] CancellationToken cancellation)
    {
        long after = turn.StartSeq - 1;
        while (true)
        {
            EventPage page = await host.ReadEventsAsync(tenant, conversation, after, EventsMax, TimeSpan.Zero, cancellation);
            if (page.Gap > 0) throw Gap(page.Gap);
            foreach (ConversationEvent e in page.Events.Where(e => e.Turn == turn.Turn))
            {
                yield return e;
                if (TurnContent.IsEnd(e)) yield break;
            }
            if (page.Events.Count == 0) yield break;
            after = page.Events[^1].Seq;
        }
    }

    /// <summary>Items of the conversation from behind (or, descending, before) one of them; one turn at a time is read.</summary>
    public async IAsyncEnumerable<MessageItem> ItemsAsync(
        string tenant, string conversation, (int Turn, int Number)? after, bool isDescending, [EnumeratorCancellation] CancellationToken cancellation)
    {
        const int PageMax = 20;
        int from = after is not { } start ? 0 : isDescending ? start.Turn + 1 : start.Turn - 1;
        while (true)
        {
            IReadOnlyList<TurnInfo> turns = await host.ListTurnsAsync(tenant, conversation, from, PageMax, isDescending, cancellation);
            foreach (TurnInfo turn in turns)
            {
                IReadOnlyList<MessageItem> items = (await ReadAsync(tenant, conversation, turn, cancellation)).Items();
                foreach (int i in isDescending ? Enumerable.Range(0, items.Count).Reverse() : Enumerable.Range(0, items.Count))
                {
                    if (turn.Turn == after?.Turn && (isDescending ? i + 1 >= after.Value.Number : i + 1 <= after.Value.Number)) continue;
                    yield return items[i];
                }
            }
            if (turns.Count < PageMax || (isDescending && turns[^1].Turn == 1)) yield break;
            from = turns[^1].Turn;
        }
    }

    /// <summary>What was asked for is no longer retained.</summary>
    public static ApiException Gap(long first) =>
        new(410, GapCode, $"The events that this needs are no longer retained; the first that are begin at sequence number {first}. Export conversations in time, or retain events for longer.");
}
