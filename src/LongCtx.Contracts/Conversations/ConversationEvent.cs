using System.Text.Json.Serialization;

namespace LongCtx;

/// <summary>
/// One entry of a conversation's journal, as subscribers see it. <see cref="Seq"/> is dense per conversation: 1, 2, 3, ... An event is shown
/// only after it is stored, so a crash contradicts nothing that anybody has seen.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind")]
[JsonDerivedType(typeof(TurnAccepted), TurnAccepted.Kind)]
[JsonDerivedType(typeof(InputAppended), InputAppended.Kind)]
[JsonDerivedType(typeof(Delta), Delta.Kind)]
[JsonDerivedType(typeof(Evicted), Evicted.Kind)]
[JsonDerivedType(typeof(Recalled), Recalled.Kind)]
[JsonDerivedType(typeof(AdapterConfigured), AdapterConfigured.Kind)]
[JsonDerivedType(typeof(AdapterUpdated), AdapterUpdated.Kind)]
[JsonDerivedType(typeof(AdapterRejected), AdapterRejected.Kind)]
[JsonDerivedType(typeof(Completed), Completed.Kind)]
[JsonDerivedType(typeof(Failed), Failed.Kind)]
[JsonDerivedType(typeof(Cancelled), Cancelled.Kind)]
[JsonDerivedType(typeof(Rewound), Rewound.Kind)]
public abstract record ConversationEvent
{
    /// <summary>Filled in by a subscription, which may be to several conversations; it is not stored.</summary>
    [JsonIgnore]
    public string? Conversation { get; init; }

    public long Seq { get; init; }

    /// <summary>The owner's fencing epoch; it never falls.</summary>
    public long Epoch { get; init; }

    /// <summary>The turn that the event belongs to: 1, 2, 3, ...; 0 for none.</summary>
    public int Turn { get; init; }

    /// <summary>When it was written, in Unix milliseconds.</summary>
    public long At { get; init; }

    /// <summary>Index in the conversation's token log of the first token that this event adds.</summary>
    public long TokenStart { get; init; }

    /// <summary>Tokens that this event adds to the log.</summary>
    public int TokenCount { get; init; }
}

/// <summary>A turn is stored and will be answered, whatever happens to its client or to this process.</summary>
/// <param name="TurnId">Chosen by the client.</param>
/// <param name="PayloadHash">Of the whole command: the same id with another hash is refused.</param>
/// <param name="Messages">The new messages of this turn.</param>
/// <param name="Options">How the reply is generated.</param>
public sealed record TurnAccepted(string TurnId, string PayloadHash, IReadOnlyList<ChatMessage> Messages, TurnOptions Options) : ConversationEvent
{
    public const string Kind = "turn_accepted";

    /// <summary>The policy S,W,G,C,B that the conversation has from its first tokens on; null on all later events.</summary>
    public string? Policy { get; init; }

    /// <summary>Offsets, in the tokens that this event adds, at which a turn of the chat begins.</summary>
    public IReadOnlyList<int> TurnStarts { get; init; } = [];
}

/// <summary>Messages joined the conversation without asking for a reply.</summary>
/// <param name="TurnId">Names the append; made from producer and number where there are any.</param>
/// <param name="PayloadHash">As for a turn.</param>
/// <param name="Messages">What was appended.</param>
public sealed record InputAppended(string TurnId, string PayloadHash, IReadOnlyList<ChatMessage> Messages) : ConversationEvent
{
    public const string Kind = "input_appended";

    /// <summary>Who feeds; null for a single append.</summary>
    public string? Producer { get; init; }

    /// <summary>The producer's number of this piece: 1, 2, 3, ...</summary>
    public long Number { get; init; }

    public string? Policy { get; init; }

    public IReadOnlyList<int> TurnStarts { get; init; } = [];
}

/// <summary>Text of the reply that became final; never ends inside a character. Empty while a character or a stop text is incomplete.</summary>
public sealed record Delta(string Text) : ConversationEvent
{
    public const string Kind = "delta";
}

/// <summary>Tokens are stored as a segment, because they are leaving the window.</summary>
/// <param name="Segment">Number of the segment: 1, 2, 3, ...</param>
/// <param name="First">Its first token's index in the log.</param>
/// <param name="Count">Its length.</param>
/// <param name="Hash">SHA-256 of the hash of the segment before it and of its token ids: a chain over all that has left.</param>
public sealed record Evicted(int Segment, long First, int Count, string Hash) : ConversationEvent
{
    /// <summary>The first event with tokens behind this segment.</summary>
    public long TailSeq { get; init; }

    public const string Kind = "evicted";
}

/// <summary>Segments were brought back into view for a turn.</summary>
public sealed record Recalled(IReadOnlyList<int> Segments) : ConversationEvent
{
    public const string Kind = "recalled";
}

/// <summary>The conversation learns from its own text from here on, in this way.</summary>
/// <param name="Settings">In effect from here on.</param>
/// <param name="From">The first token that it learns.</param>
public sealed record AdapterConfigured(AdapterSettings Settings, long From) : ConversationEvent
{
    public const string Kind = "adapter_configured";
}

/// <summary>
/// The conversation's adapter changed: keys of tokens from <paramref name="FirstToken"/> on are computed under it. Its state is stored before this event is.
/// </summary>
/// <param name="Version">Counts on over resets; 0 is the base model.</param>
/// <param name="Digest">Names the weights; empty for the base model.</param>
public sealed record AdapterUpdated(int Version, string Digest, long FirstToken) : ConversationEvent
{
    /// <summary>What was learned; null for a reset.</summary>
    public AdapterUpdate? Update { get; init; }

    /// <summary>The cache was given up: sinks and window before <see cref="FirstToken"/> are computed anew under this version.</summary>
    public bool IsRefill { get; init; }

    /// <summary>Nothing more is learned.</summary>
    public bool IsDisabled { get; init; }

    public const string Kind = "adapter_updated";
}

/// <summary>A chunk was learned and the result thrown away: <see cref="AdapterUpdate.Rejected"/> says why. The version before stays in use.</summary>
public sealed record AdapterRejected(AdapterUpdate Update) : ConversationEvent
{
    public const string Kind = "adapter_rejected";
}

/// <summary>The reply is whole.</summary>
/// <param name="Reason">Why it ended: stop or length.</param>
/// <param name="Usage">What it cost.</param>
/// <param name="Text">Text that became final with the end; with the deltas before it, the whole reply.</param>
/// <param name="Beyond">End of the reply's text that its tokens do not cover (a stop text cut a token); fed with the next turn.</param>
public sealed record Completed(FinishReason Reason, TurnUsage Usage, string Text = "", string Beyond = "") : ConversationEvent
{
    public const string Kind = "completed";
}

/// <summary>The turn ended without a whole reply.</summary>
/// <param name="Code">As in an error answer, for instance context_length_exceeded.</param>
/// <param name="Message">What happened and what to do.</param>
/// <param name="Retryable">Whether the same turn may succeed under another id.</param>
public sealed record Failed(string Code, string Message, bool Retryable) : ConversationEvent
{
    public const string Kind = "failed";
}

/// <summary>Somebody cancelled the turn; what was generated so far stays.</summary>
public sealed record Cancelled(TurnUsage Usage, string Text = "") : ConversationEvent
{
    public const string Kind = "cancelled";
}

/// <summary>
/// The journal is shorter than a reader had seen it: the store lost its end (a failover without the newest writes). Events behind
/// <paramref name="Head"/> that were seen before do not exist any more.
/// </summary>
public sealed record Rewound(long Head) : ConversationEvent
{
    public const string Kind = "rewound";
}

/// <summary>Tokens and times of one turn.</summary>
public sealed record TurnUsage(long InputTokens, long CachedTokens, long OutputTokens, long EvictedTokens)
{
    public double PrefillSeconds { get; init; }

    public double DecodeSeconds { get; init; }

    public WindowState Window { get; init; }

    /// <summary>How the cache was brought back before this turn; null where it was still there.</summary>
    public RestoreGrade? Restored { get; init; }
}

/// <summary>How a conversation's cache was rebuilt.</summary>
public enum RestoreGrade
{
    /// <summary>From a saved state and the journal behind it: the same bits.</summary>
    Exact,

    /// <summary>The whole log was computed again, under the same policy: the same bits.</summary>
    Replay,

    /// <summary>Sinks and window were computed alone: close, not equal.</summary>
    Refill,
}

/// <summary>How the reply of a turn is generated.</summary>
public sealed record TurnOptions
{
    /// <summary>Most tokens to generate; null is until the model stops.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Texts that end the reply; they are not part of it.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>The client's own labels for the response.</summary>
    public IReadOnlyDictionary<string, string>? Metadata { get; init; }

    /// <summary>How the turn was asked for over HTTP; null for a turn that did not come as a response.</summary>
    public ResponseOrigin? Response { get; init; }
}

/// <summary>What a response's events repeat to their readers and what does not change the reply itself.</summary>
/// <param name="Instructions">Those in effect: the request's own, otherwise those of the turn before.</param>
/// <param name="PreviousResponseId">The response that this one continues, as the client named it.</param>
/// <param name="IsBackground">The client did not wait.</param>
/// <param name="OwnsConversation">The conversation was created for this response and goes with it.</param>
public sealed record ResponseOrigin(string? Instructions, string? PreviousResponseId, bool IsBackground, bool OwnsConversation);
