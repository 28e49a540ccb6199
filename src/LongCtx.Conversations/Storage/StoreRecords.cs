namespace LongCtx.Conversations.Storage;

/// <summary>Names a conversation in a store.</summary>
public sealed record ConversationKey(string Tenant, string Id);

/// <summary>What a conversation is created with.</summary>
/// <param name="Created">Unix milliseconds.</param>
/// <param name="ForkedFrom">id@seq, or null.</param>
public sealed record ConversationSeed(string Model, long Created, IReadOnlyDictionary<string, string> Metadata, string? ForkedFrom = null);

/// <summary>A conversation's head.</summary>
public sealed record StoredConversation(ConversationKey Key, ConversationSeed Seed)
{
    /// <summary>Rises with every acquisition and with the deletion.</summary>
    public required long Epoch { get; init; }

    /// <summary>Sequence number of the newest event; 0 when there is none.</summary>
    public required long Seq { get; init; }

    /// <summary>Of the oldest event that is retained; <see cref="Seq"/> + 1 when there is none.</summary>
    public required long FirstSeq { get; init; }

    /// <summary>The last <see cref="AppendBatch.State"/>; empty before the first append.</summary>
    public required string State { get; init; }

    /// <summary>Unix milliseconds; null while it exists.</summary>
    public long? Deleted { get; init; }
}

/// <summary>What one append writes.</summary>
/// <param name="Epoch">The writer's.</param>
/// <param name="ExpectedSeq">The head before it.</param>
/// <param name="BatchId">Makes a repeated append recognisable.</param>
/// <param name="Events">Numbered from <paramref name="ExpectedSeq"/> + 1 on; at least one.</param>
/// <param name="State">The machine's state after these events; replaces the one before.</param>
public sealed record AppendBatch(long Epoch, long ExpectedSeq, Guid BatchId, IReadOnlyList<StoredEvent> Events, string State)
{
    /// <summary>Turns that began or changed; written over what is stored under their index.</summary>
    public IReadOnlyList<TurnInfo> Turns { get; init; } = [];

    public IReadOnlyList<StoredSegment> Segments { get; init; } = [];

    /// <summary>Whether a turn is in progress after this batch: what <see cref="IConversationStore.ListLiveAsync"/> reports.</summary>
    public bool IsLive { get; init; }
}

/// <summary>One event as it is stored.</summary>
/// <param name="Kind">Its discriminator, so that a database can be read with its own shell.</param>
/// <param name="Tokens">Ids that it adds to the token log.</param>
/// <param name="Body">The <see cref="ConversationEvent"/> as JSON.</param>
public sealed record StoredEvent(long Seq, string Kind, ReadOnlyMemory<int> Tokens, string Body);

/// <summary>Token ids that left the window.</summary>
/// <param name="Number">1, 2, 3, ...</param>
/// <param name="First">Index of the first token in the log.</param>
/// <param name="Hash">SHA-256, as hex, of the previous segment's hash and these tokens.</param>
public sealed record StoredSegment(int Number, long First, ReadOnlyMemory<int> Tokens, string Hash);

public enum AppendStatus
{
    Appended,

    /// <summary>Another owner has acquired the conversation: leave it.</summary>
    Fenced,

    /// <summary>The head is not the expected one: the store lost writes, or the caller its state.</summary>
    Conflict,

    /// <summary>Deleted, or never there.</summary>
    Gone,
}

/// <param name="Seq">The head after the call.</param>
public readonly record struct AppendResult(AppendStatus Status, long Seq);

/// <summary>What an acknowledged write survives.</summary>
public enum Durability
{
    /// <summary>Acknowledged after the write: survives the death of this process.</summary>
    Relaxed,

    /// <summary>As relaxed, and synced at most one second later.</summary>
    Standard,

    /// <summary>Acknowledged after it is on the disk.</summary>
    Strict,
}

/// <param name="Name">Kind and place, for logs.</param>
/// <param name="Holds">The level that really holds, which may be weaker than the one asked for.</param>
/// <param name="Warnings">What an operator should change, one sentence each.</param>
public sealed record StoreDescription(string Name, Durability Holds, IReadOnlyList<string> Warnings);

/// <summary>The store could not do it: what, where, and what to do.</summary>
/// <param name="isTransient">Whether the same call may succeed later; a full disk or a damaged file is not.</param>
public sealed class StoreException(string message, bool isTransient, Exception? inner = null) : Exception(message, inner)
{
    public bool IsTransient { get; } = isTransient;
}
