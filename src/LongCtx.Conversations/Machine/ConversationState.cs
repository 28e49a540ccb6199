using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using LongCtx.Engine.Cache;

namespace LongCtx.Conversations.Machine;

/// <summary>
/// What a conversation is after its journal: a fold over its events, stored beside them with every append, so that an owner starts without
/// reading the journal.
/// </summary>
public sealed record ConversationState
{
    public static readonly ConversationState Empty = new();

    /// <summary>How many producers are remembered for deduplication; the one that has been silent longest is forgotten.</summary>
    public const int ProducersMax = 64;

    public long Seq { get; init; }

    /// <summary>Of the newest event.</summary>
    public long Epoch { get; init; }

    /// <summary>Turns and appends so far.</summary>
    public int Turns { get; init; }

    /// <summary>Length of the token log.</summary>
    public long Tokens { get; init; }

    /// <summary>S,W,G,C,B, from the first tokens on; null before.</summary>
    public string? Policy { get; init; }

    /// <summary>What the log ends with: empty, "reply" for a generated reply whose closing is not fed yet, otherwise the role of the last message.</summary>
    public string Ending { get; init; } = "";

    /// <summary>End of the last reply's text that its tokens do not cover; it goes before the next input.</summary>
    public string Beyond { get; init; } = "";

    /// <summary>The turn that is being answered.</summary>
    public LiveTurn? Live { get; init; }

    /// <summary>Segments written so far.</summary>
    public int Segments { get; init; }

    /// <summary>Tokens before this index are sinks or in segments.</summary>
    public long SegmentEnd { get; init; }

    /// <summary>Index in the log of the first token that no segment holds.</summary>
    [JsonIgnore]
    public long Unsegmented => Segments == 0 ? 0 : SegmentEnd;

    /// <summary>Hash of the newest segment.</summary>
    public string SegmentHash { get; init; } = "";

    /// <summary>No event before this one holds tokens at or behind <see cref="SegmentEnd"/>: where reading the tail of the log begins.</summary>
    public long TailSeq { get; init; } = 1;

    /// <summary>Newest number of each producer, and the event that holds it.</summary>
    public ImmutableDictionary<string, Fed> Producers { get; init; } = ImmutableDictionary<string, Fed>.Empty;

    /// <summary>The temporary adapter; null where none was ever asked for.</summary>
    public AdapterState? Adapter { get; init; }

    public const string Reply = "reply";

    public static ConversationState Parse(string json) =>
        json.Length == 0 ? Empty : JsonSerializer.Deserialize(json, JournalJson.Default.ConversationState) ?? Empty;

    public string ToJson() => JsonSerializer.Serialize(this, JournalJson.Default.ConversationState);

    /// <summary>The state after one more event.</summary>
    public ConversationState After(ConversationEvent e)
    {
        ConversationState next = this with { Seq = e.Seq, Epoch = e.Epoch, Tokens = e.TokenCount == 0 ? Tokens : e.TokenStart + e.TokenCount };
        return e switch
        {
            TurnAccepted a => next with
            {
                Turns = a.Turn,
                Policy = Policy ?? a.Policy,
                SegmentEnd = FirstEvictable(a.Policy),
                Ending = Reply,
                Beyond = "",
                Live = new(a.Turn, a.TurnId, a.PayloadHash, a.Options, a.Seq, next.Tokens),
            },
            InputAppended i => next with
            {
                Turns = i.Turn,
                Policy = Policy ?? i.Policy,
                SegmentEnd = FirstEvictable(i.Policy),
                Ending = i.Messages[^1].Role,
                Beyond = "",
                Producers = i.Producer is null ? Producers : Remember(i),
            },
            Evicted v => next with
            {
                Segments = v.Segment,
                SegmentEnd = v.First + v.Count,
                SegmentHash = v.Hash,
                TailSeq = v.TailSeq,
            },
            AdapterConfigured c => next with { Adapter = (Adapter ?? new(c.Settings)) with { Settings = c.Settings, IsEnabled = true, TrainedTo = Math.Max(c.From, Adapter?.TrainedTo ?? 0) } },
            AdapterUpdated u => next with { Adapter = Adapter?.After(u) },
            AdapterRejected r => next with { Adapter = Adapter?.After(r) },
            Completed c => next with { Live = null, Beyond = c.Beyond },
            Failed or Cancelled => next with { Live = null },
            _ => next,
        };
    }

    [JsonIgnore]
    public TurnInfo? LiveInfo => Live is { } live ? new(live.Turn, live.TurnId, live.PayloadHash, TurnStatus.InProgress, live.AcceptedSeq, 0) : null;

    long FirstEvictable(string? policy) => Policy is null && policy is not null ? PolicyOptions.ParseRule(policy).Sinks : SegmentEnd;

    ImmutableDictionary<string, Fed> Remember(InputAppended i)
    {
        var known = Producers.SetItem(i.Producer!, new(i.Number, i.Seq, i.Turn, i.PayloadHash));
        return known.Count <= ProducersMax ? known : known.Remove(known.MinBy(p => p.Value.Seq).Key);
    }
}

/// <param name="ReplyStart">Index in the log at which the reply begins.</param>
public sealed record LiveTurn(int Turn, string TurnId, string PayloadHash, TurnOptions Options, long AcceptedSeq, long ReplyStart);

/// <summary>The newest piece of a producer.</summary>
public sealed record Fed(long Number, long Seq, int Turn, string PayloadHash);
