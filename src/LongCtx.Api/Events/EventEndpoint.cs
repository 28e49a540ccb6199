using System.Globalization;
using LongCtx.Api.Conversations;
using LongCtx.Api.Items;
using LongCtx.Api.Json;
using LongCtx.Api.Routing;
using LongCtx.Api.Streaming;

namespace LongCtx.Api.Events;

/// <summary>
/// GET /v1/conversations/{id}/events and /v1/events: the journal of one conversation, or of many over one connection, as server-sent events
/// without end. A reader that comes back with the id of the last event it saw gets the next.
/// </summary>
internal sealed class EventEndpoint(IConversationHost host, TurnReader turns, Heartbeat heartbeat, ErrorBoundary errors, Shutdown shutdown, Telemetry telemetry)
{
    const string LastEventId = "Last-Event-ID";

    /// <summary>More would not fit into the line of a request.</summary>
    const int ConversationsMax = 100;

    /// <summary>Turns are listed at once.</summary>
    const int TurnsMax = 1000;

    /// <summary>
    /// after=seq begins behind an event, turns=N with the newest turns; turns=N&amp;before=turn has those before a turn, and ends with them.
    /// Last-Event-ID wins over all three about the beginning: what it names is newer.
    /// </summary>
    public async Task OneAsync(HttpContext http)
    {
        QueryFields query = new(http.Request);
        long? after = query.Integer("after", 0, long.MaxValue), newest = query.Integer("turns", 1, TurnsMax), before = query.Integer("before", 1, int.MaxValue);
        query.RefuseOthers();
        if (newest is not null && after is not null) throw ApiException.Value("turns", "given without 'after'", "together with it: both say where to begin");
        if (before is not null && newest is null) throw ApiException.Value("before", "given with 'turns'", "alone");
        string id = ConversationId.Of(http);
        (long begin, long end) = newest is null ? (after ?? 0, long.MaxValue) : await NewestAsync(Tenants.Of(http), id, (int)newest, (int?)before, http.RequestAborted);
        if (http.Request.Headers[LastEventId].ToString() is { Length: > 0 } last) begin = Seq(last, LastEventId);
        await WriteAsync(http, new(StringComparer.Ordinal) { [id] = begin }, (_, seq) => seq.ToString(CultureInfo.InvariantCulture), end);
    }

    /// <summary>Behind which event the newest turns, or the newest before a turn, begin, and with which they end.</summary>
    async ValueTask<(long After, long End)> NewestAsync(string tenant, string id, int count, int? before, CancellationToken cancellation)
    {
        long end = before is { } turn ? (await turns.FindAsync(tenant, id, turn, $"turn {turn}", cancellation)).StartSeq - 1 : long.MaxValue;
        IReadOnlyList<TurnInfo> newest = await host.ListTurnsAsync(tenant, id, before ?? 0, count, descending: true, cancellation);
        return (newest is [.., var oldest] ? oldest.StartSeq - 1 : 0, end);
    }

    /// <summary>conversation=id:after, several times; Last-Event-ID, which is one of these, wins over the parameter that names its conversation.</summary>
    public async Task ManyAsync(HttpContext http)
    {
        QueryFields query = new(http.Request);
        Dictionary<string, long> cursors = new(StringComparer.Ordinal);
        foreach (string cursor in query.All("conversation"))
        {
            (string id, long after) = Cursor(cursor, "conversation");
            if (!cursors.TryAdd(id, after)) throw ApiException.Value("conversation", "given once for each conversation", $"'{id}' twice");
        }
        query.RefuseOthers();
        if (cursors.Count is 0 or > ConversationsMax)
            throw ApiException.Value("conversation", $"given 1 to {ConversationsMax} times, as id:after", $"{cursors.Count} times");
        if (http.Request.Headers[LastEventId].ToString() is { Length: > 0 } last)
        {
            (string id, long after) = Cursor(last, LastEventId);
            if (cursors.ContainsKey(id)) cursors[id] = after;
        }
        await WriteAsync(http, cursors, (id, seq) => string.Create(CultureInfo.InvariantCulture, $"{id}:{seq}"));
    }

    async Task WriteAsync(HttpContext http, Dictionary<string, long> cursors, Func<string, long, string> eventId, long end = long.MaxValue)
    {
        string tenant = Tenants.Of(http);
        foreach (string id in cursors.Keys) await host.GetConversationAsync(tenant, id, http.RequestAborted);

        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, shutdown.Begun);
        using IDisposable open = telemetry.OpenStream();
        SseWriter sse = new(http.Response);
        await sse.OpenAsync(http.RequestAborted);
        try
        {
            await using EventSubscription subscription = new(host, tenant, cursors, end, stop.Token);
            await using IAsyncEnumerator<Notice> notices = subscription.ReadAllAsync().GetAsyncEnumerator(stop.Token);
            while (await heartbeat.WaitAsync(notices.MoveNextAsync(), sse, stop.Token))
                await WriteAsync(http, sse, notices.Current, eventId, stop.Token);
        }
        catch (OperationCanceledException) when (!http.RequestAborted.IsCancellationRequested)
        {
            ErrorBody reason = errors.Explain(Shutdown.Pause("open the stream again behind the last event"), http).Body;
            await sse.WriteAsync(new ErrorNotice(null, reason), ApiJson.Instance.ErrorNotice, http.RequestAborted, "error");
        }
    }

    async ValueTask WriteAsync(HttpContext http, SseWriter sse, Notice notice, Func<string, long, string> eventId, CancellationToken cancellation)
    {
        string id = notice.Conversation;
        if (notice.Failure is { } failure)
        {
            await sse.WriteAsync(new ErrorNotice(id, errors.Explain(failure, http).Body), ApiJson.Instance.ErrorNotice, cancellation, "error");
            return;
        }
        EventPage page = notice.Page!;
        if (page.IsRewound)
            await sse.WriteAsync(new RewoundNotice(id, page.Head), ApiJson.Instance.RewoundNotice, cancellation, Rewound.Kind, eventId(id, page.Head));
        if (page.Gap > 0)
            await sse.WriteAsync(new GapNotice(id, page.Gap), ApiJson.Instance.GapNotice, cancellation, "gap", eventId(id, page.Gap - 1));
        foreach (ConversationEvent e in page.Events)
            await sse.WriteAsync(e, ApiJson.Instance.ConversationEvent, cancellation, EventKinds.Of(e), eventId(id, e.Seq));
    }

    static (string Id, long After) Cursor(string text, string name)
    {
        string[] parts = text.Split(':');
        if (parts.Length > 2) throw ApiException.Value(name, "id:after", $"'{text}'");
        return (ConversationId.Check(parts[0]), parts.Length == 2 ? Seq(parts[1], name) : 0);
    }

    static long Seq(string text, string name) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long seq)
        ? seq : throw ApiException.Value(name, "a sequence number of 0 or more", $"'{text}'");
}

/// <summary>The stream, or what it tells of one conversation, has ended.</summary>
internal sealed record ErrorNotice(string? Conversation, ErrorBody Error);

/// <summary>Events behind <paramref name="Head"/> that were seen before do not exist any more.</summary>
internal sealed record RewoundNotice(string Conversation, long Head);

/// <summary>Events before <paramref name="First"/> are no longer retained.</summary>
internal sealed record GapNotice(string Conversation, long First);
