namespace LongCtx;

/// <summary>A conversation as clients see it.</summary>
/// <param name="Id">conv_ + tag of the model + UUIDv7.</param>
/// <param name="Model">Fixed when it was created.</param>
/// <param name="Created">Unix milliseconds.</param>
/// <param name="Metadata">The client's own labels.</param>
/// <param name="Seq">Of the newest event.</param>
/// <param name="FirstSeq">Of the oldest event that is still retained.</param>
/// <param name="Turns">Turns and appends so far.</param>
/// <param name="Tokens">Length of the token log.</param>
public sealed record ConversationInfo(
    string Id, string Model, long Created, IReadOnlyDictionary<string, string> Metadata, long Seq, long FirstSeq, int Turns, long Tokens)
{
    /// <summary>Index of the turn that is being answered; 0 for none.</summary>
    public int LiveTurn { get; init; }

    /// <summary>Where it was forked from, as id@seq.</summary>
    public string? ForkedFrom { get; init; }

    /// <summary>The policy S,W,G,C,B; null before the first tokens.</summary>
    public string? Policy { get; init; }
}

/// <param name="Model">Null is the host's first decoder.</param>
public sealed record CreateConversation(string? Model, IReadOnlyDictionary<string, string>? Metadata = null)
{
    /// <summary>Makes the creation idempotent: the same key gives the same conversation.</summary>
    public string? IdempotencyKey { get; init; }

    /// <summary>Messages that the conversation begins with.</summary>
    public IReadOnlyList<ChatMessage> Messages { get; init; } = [];

    /// <summary>How it learns from its own text; null: it does not.</summary>
    public AdapterSettings? Adapter { get; init; }

    /// <summary>The same as a piece that is appended once, however often the creation is repeated; null when there are none.</summary>
    public AppendInput? FirstInput => Messages.Count == 0 ? null : new(Messages) { Producer = "create", Number = 1 };
}

/// <summary>A turn to be answered. Sending it twice runs it once.</summary>
/// <param name="TurnId">Chosen by the client: an idempotency key or a UUIDv7.</param>
/// <param name="Messages">New messages, at least one unless the conversation ends in an unanswered one.</param>
public sealed record SubmitTurn(string TurnId, IReadOnlyList<ChatMessage> Messages)
{
    public TurnOptions Options { get; init; } = new();

    /// <summary>Wait for a turn that is being answered (one may wait) instead of being refused.</summary>
    public bool Wait { get; init; }

    /// <summary>The event after which the client thinks the conversation stands; another head is refused. Null: any.</summary>
    public long? ExpectedSeq { get; init; }
}

/// <summary>An accepted turn: its events follow <see cref="AcceptedSeq"/>.</summary>
/// <param name="Turn">Its index in the conversation.</param>
/// <param name="AcceptedSeq">Sequence number of its first event.</param>
/// <param name="IsNew">False when the same turn had been accepted before.</param>
public sealed record TurnTicket(string Conversation, string TurnId, int Turn, long AcceptedSeq, bool IsNew);

/// <summary>Messages to add without asking for a reply; deduplicated by producer and number where both are given.</summary>
public sealed record AppendInput(IReadOnlyList<ChatMessage> Messages)
{
    public string? Producer { get; init; }

    /// <summary>1, 2, 3, ... for each producer.</summary>
    public long Number { get; init; }

    public bool Wait { get; init; }
}

/// <param name="Seq">Of the event that holds the input.</param>
/// <param name="IsNew">False when this piece had been appended before.</param>
public sealed record InputAck(long Seq, int Turn, bool IsNew);

public enum TurnStatus
{
    InProgress,
    Completed,
    Cancelled,
    Failed,

    /// <summary>An append: there is no reply.</summary>
    Input,
}

/// <summary>A turn as the store knows it.</summary>
/// <param name="StartSeq">Of its first event.</param>
/// <param name="EndSeq">Of its last event; 0 while it is in progress.</param>
public sealed record TurnInfo(int Turn, string TurnId, string PayloadHash, TurnStatus Status, long StartSeq, long EndSeq);

/// <summary>What a tenant has, to be held against its limits.</summary>
/// <param name="Conversations">Stored ones that are not deleted.</param>
/// <param name="LiveTurns">Turns that are in progress.</param>
public sealed record TenantUsage(long Conversations, int LiveTurns);

/// <summary>Some events in order.</summary>
/// <param name="Events">May be empty when the wait was over.</param>
/// <param name="Head">Sequence number of the newest event at that time.</param>
/// <param name="Gap">The events asked for are no longer retained: the first that are. 0 otherwise.</param>
/// <param name="IsRewound">The reader is ahead of the journal: what it saw behind <paramref name="Head"/> does not exist any more.</param>
public sealed record EventPage(IReadOnlyList<ConversationEvent> Events, long Head, long Gap = 0, bool IsRewound = false);

/// <summary>One page of a listing.</summary>
/// <param name="After">Pass it to get the next page; null at the end.</param>
public sealed record Page<T>(IReadOnlyList<T> Items, string? After);
