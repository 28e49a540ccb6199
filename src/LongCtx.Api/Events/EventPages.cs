using System.Runtime.CompilerServices;

namespace LongCtx.Api.Events;

/// <summary>A conversation's journal as a sequence, endless unless asked otherwise.</summary>
internal static class EventPages
{
    const int EventsMax = 256;

    /// <summary>How long a reader waits inside the host before it asks again.</summary>
    static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Pages behind <paramref name="after"/> as they come, each with events, a gap or a rewinding; ends with the event <paramref name="end"/>, by
    /// cancellation or by failure.
    /// </summary>
    public static async IAsyncEnumerable<EventPage> FollowAsync(
        this IConversationHost host, string tenant, string conversation, long after, long end, [EnumeratorCancellation] CancellationToken cancellation)
    {
        while (after < end)
        {
            EventPage page = await host.ReadEventsAsync(tenant, conversation, after, (int)Math.Min(EventsMax, end - after), WaitMax, cancellation);
            if (page.IsRewound) after = page.Head;
            if (page.Gap > 0) after = page.Gap - 1;
            if (page.Events is [.., var last]) after = last.Seq;
            else if (page is { IsRewound: false, Gap: 0 }) continue;
            yield return page;
        }
    }
}
