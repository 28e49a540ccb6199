using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;
using LongCtx.Client.Wire;

namespace LongCtx.Client.Events;

/// <summary>
/// Follows conversations over one connection at a time. When it is lost, the next one goes on behind the last event: none is missed, none is
/// given twice.
/// </summary>
/// <param name="transport">To the server.</param>
/// <param name="start">For each conversation the sequence number behind which to begin.</param>
/// <param name="isSingle">A single conversation that ends ends the subscription with its reason.</param>
internal sealed class EventSubscription(Transport transport, IReadOnlyDictionary<string, long> start, bool isSingle)
{
    /// <summary>The cursor of a conversation of which the server chooses the first event.</summary>
    const long Unknown = -1;

    readonly Dictionary<string, long> cursors = new(start, StringComparer.Ordinal);

    /// <summary>With how many turns an unknown cursor begins.</summary>
    int NewestTurns { get; init; }

    /// <summary>A single conversation from its newest turns on.</summary>
    public static EventSubscription ToNewest(Transport transport, string conversation, int turns) =>
        new(transport, new Dictionary<string, long>(StringComparer.Ordinal) { [conversation] = Unknown }, isSingle: true) { NewestTurns = turns };

    public async IAsyncEnumerable<ConversationEvent> ReadAllAsync([EnumeratorCancellation] CancellationToken cancellation)
    {
        Backoff backoff = new(transport.Options, transport.Options.ReconnectFor);
        EventConnection? connection = null;
        try
        {
            while (cursors.Count > 0)
            {
                ConversationEvent? next = null;
                LongCtxException? lost = null;
                Unsubscribed[] gone = [];
                try
                {
                    connection ??= await EventConnection.OpenAsync(transport, Path(), cancellation).ConfigureAwait(false);
                    if (await connection.ReadAsync().ConfigureAwait(false) is not { } received) lost = Closed();
                    else next = Interpret(received);
                    if (lost is null) backoff.Reset();
                }
                catch (Exception e) when (Transport.IsLost(e, cancellation))
                {
                    lost = transport.Lost(e);
                }
                catch (LongCtxException e) when (ErrorAnswers.IsTransient(e.Code))
                {
                    lost = e;
                }
                catch (LongCtxException e) when (connection is null && !isSingle && e.Code is ErrorCode.NotFound or ErrorCode.Deleted)
                {
                    gone = await FindGoneAsync(cancellation).ConfigureAwait(false);
                    if (gone.Length == 0) lost = e;
                }

                foreach (Unsubscribed missing in gone) yield return missing;
                if (next is not null) yield return next;
                if (lost is null) continue;
                connection?.Dispose();
                connection = null;
                await backoff.WaitAsync(lost, cancellation).ConfigureAwait(false);
            }
        }
        finally
        {
            connection?.Dispose();
        }
    }

    string Path() => isSingle
        ? string.Create(CultureInfo.InvariantCulture, $"v1/conversations/{Uri.EscapeDataString(cursors.Keys.Single())}/events?{Beginning(cursors.Values.Single())}")
        : "v1/events?" + string.Join('&', cursors.Select(c => string.Create(CultureInfo.InvariantCulture, $"conversation={Uri.EscapeDataString(c.Key)}:{c.Value}")));

    string Beginning(long cursor) => cursor == Unknown
        ? string.Create(CultureInfo.InvariantCulture, $"turns={NewestTurns}") : string.Create(CultureInfo.InvariantCulture, $"after={cursor}");

    /// <summary>The event for the reader; null where there is none.</summary>
    ConversationEvent? Interpret(ServerSentEvent received)
    {
        try
        {
            // A rewinding that the journal itself tells of is an event like any other.
            if (received.Name is not ("error" or "gap" or Rewound.Kind)) return Accept(received);
            StreamNotice notice = JsonSerializer.Deserialize(received.Data, ClientJson.Default.StreamNotice)!;
            if (notice.Kind is not null) return Accept(received);
            if (notice is { First: { } first, Conversation: { } behind }) return Moved(behind, first - 1, new Gap(first));
            if (notice is { Head: { } head, Conversation: { } ahead }) return Moved(ahead, head, new Rewound(head));
            LongCtxException failure = ErrorAnswers.From(notice.Error ?? new(null, null, null));
            if (isSingle || notice.Conversation is not { } conversation || ErrorAnswers.IsTransient(failure.Code)) throw failure;
            cursors.Remove(conversation);
            return new Unsubscribed(failure.Code, failure.Message) { Conversation = conversation };
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            throw new LongCtxException(ErrorCode.EngineFailure, $"an event of kind '{received.Name}' cannot be read: the server may be newer than this client ({e.Message})", inner: e);
        }
    }

    ConversationEvent? Accept(ServerSentEvent received)
    {
        ConversationEvent e = JsonSerializer.Deserialize(received.Data, ClientJson.Default.ConversationEvent)!;
        string conversation = isSingle ? cursors.Keys.Single() : received.Id.Split(':')[0];
        if (!cursors.TryGetValue(conversation, out long cursor) || e.Seq <= cursor) return null;
        if (cursor != Unknown && e.Seq != cursor + 1)
            throw new LongCtxException(ErrorCode.EngineFailure, $"the server left out events of {conversation}: {e.Seq} came behind {cursor}");
        cursors[conversation] = e.Seq;
        return e with { Conversation = conversation };
    }

    ConversationEvent Moved(string conversation, long cursor, ConversationEvent notice)
    {
        cursors[conversation] = cursor;
        return notice with { Conversation = conversation, Seq = cursor };
    }

    /// <summary>One of several is not there: the server does not say which.</summary>
    async ValueTask<Unsubscribed[]> FindGoneAsync(CancellationToken cancellation)
    {
        List<Unsubscribed> gone = [];
        foreach (string id in cursors.Keys.ToArray())
        {
            try
            {
                await transport.GetAsync($"v1/conversations/{Uri.EscapeDataString(id)}", ClientJson.Default.ConversationAnswer, cancellation).ConfigureAwait(false);
            }
            catch (LongCtxException e) when (e.Code is ErrorCode.NotFound or ErrorCode.Deleted)
            {
                cursors.Remove(id);
                gone.Add(new(e.Code, e.Message) { Conversation = id });
            }
        }
        return [.. gone];
    }

    static LongCtxException Closed() => new(ErrorCode.Unreachable, "the server has closed the stream of events");
}
