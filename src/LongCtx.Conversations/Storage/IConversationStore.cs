using System.Buffers;

namespace LongCtx.Conversations.Storage;

/// <summary>
/// The durable journal of all conversations, and blobs beside it. All members are thread-safe. Every write of a conversation carries the writer's epoch: after
/// another owner has acquired the conversation, the older one never gets a write in. A write that threw may or may not have happened;
/// sending the same batch again is safe.
/// </summary>
/// <remarks>
/// Failures are <see cref="StoreException"/>s; everything a caller can act on is a result, not an exception. Texts are any Unicode, NUL included.
/// A text with half a surrogate pair, or events that are not numbered as they must be, is an <see cref="ArgumentException"/>; nothing is stored then.
/// </remarks>
public interface IConversationStore : IAsyncDisposable
{
    /// <summary>What the store is and what it promises when it acknowledges.</summary>
    StoreDescription Description { get; }

    /// <summary>Stores a new, empty conversation. False when the id exists already, deleted ones included; nothing is changed then.</summary>
    ValueTask<bool> CreateAsync(ConversationKey key, ConversationSeed seed, CancellationToken cancellation = default);

    /// <summary>The conversation as it stands; null when there is none of that key. A deleted one is reported as such.</summary>
    ValueTask<StoredConversation?> FindAsync(ConversationKey key, CancellationToken cancellation = default);

    /// <summary>Makes the caller the owner under a new, higher epoch. Null when there is none of that key; a deleted one is returned and not acquired.</summary>
    /// <param name="key">Whose conversation.</param>
    /// <param name="owner">Names the process, for operators.</param>
    /// <param name="cancellation">May leave the conversation acquired.</param>
    ValueTask<StoredConversation?> AcquireAsync(ConversationKey key, string owner, CancellationToken cancellation = default);

    /// <summary>
    /// Appends everything in the batch or nothing. With an epoch that is not the current one: <see cref="AppendStatus.Fenced"/>. With an
    /// expected sequence that is not the head: <see cref="AppendStatus.Appended"/> if the head's last batch is this one (its reply was lost),
    /// otherwise <see cref="AppendStatus.Conflict"/>.
    /// </summary>
    ValueTask<AppendResult> AppendAsync(ConversationKey key, AppendBatch batch, CancellationToken cancellation = default);

    /// <summary>Events with a sequence number above <paramref name="after"/>, ascending, at most <paramref name="max"/>. Trimmed ones are not there.</summary>
    ValueTask<IReadOnlyList<StoredEvent>> ReadAsync(ConversationKey key, long after, int max, CancellationToken cancellation = default);

    /// <summary>The turn with this client-chosen id; null when there is none.</summary>
    ValueTask<TurnInfo?> FindTurnAsync(ConversationKey key, string turnId, CancellationToken cancellation = default);

    /// <summary>Turns with an index above <paramref name="after"/> ascending, or below <paramref name="after"/> descending (0 then means from the newest).</summary>
    ValueTask<IReadOnlyList<TurnInfo>> ReadTurnsAsync(ConversationKey key, int after, int max, bool descending = false, CancellationToken cancellation = default);

    /// <summary>Segments with a number above <paramref name="after"/>, ascending, at most <paramref name="max"/>.</summary>
    ValueTask<IReadOnlyList<StoredSegment>> ReadSegmentsAsync(ConversationKey key, int after, int max, CancellationToken cancellation = default);

    /// <summary>Replaces the metadata; independent of the epoch. False when the conversation is not there or deleted.</summary>
    ValueTask<bool> SetMetadataAsync(ConversationKey key, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default);

    /// <summary>
    /// A tenant's conversations that are not deleted, by id: ascending above <paramref name="after"/>, or descending below it; null begins at that end.
    /// </summary>
    ValueTask<IReadOnlyList<StoredConversation>> ListAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation = default);

    /// <summary>How many conversations a tenant has that are not deleted.</summary>
    ValueTask<long> CountAsync(string tenant, CancellationToken cancellation = default);

    /// <summary>Conversations of all tenants in which a turn is in progress: what a starting process has to go on with.</summary>
    ValueTask<IReadOnlyList<ConversationKey>> ListLiveAsync(CancellationToken cancellation = default);

    /// <summary>Forgets events up to <paramref name="upTo"/>; segments and turns stay. Fenced like an append. The head's event always stays.</summary>
    ValueTask<AppendStatus> TrimAsync(ConversationKey key, long epoch, long upTo, CancellationToken cancellation = default);

    /// <summary>
    /// Makes this the content of the conversation's blob of that name, whole or not at all: after a failure or a crash it is the one before, or
    /// none, or this one. Fenced like an append. Nothing of the content may change until the call ends.
    /// </summary>
    /// <exception cref="ArgumentException">The name is not as <see cref="StoredBlob.CheckName"/> wants it; so for the members below.</exception>
    ValueTask<AppendStatus> PutBlobAsync(ConversationKey key, long epoch, string name, ReadOnlySequence<byte> content, CancellationToken cancellation = default);

    /// <summary>
    /// The blob as it is now, of known length and to be read asynchronously; null when there is none of that name. Replaced or deleted while it
    /// is read, it either goes on to its end or fails with a transient <see cref="StoreException"/>; it never becomes another.
    /// </summary>
    ValueTask<Stream?> ReadBlobAsync(ConversationKey key, string name, CancellationToken cancellation = default);

    /// <summary>The conversation's blobs by name.</summary>
    ValueTask<IReadOnlyList<StoredBlob>> ListBlobsAsync(ConversationKey key, CancellationToken cancellation = default);

    /// <summary>Leaves no blob of that name, whether there was one or not. Fenced like an append.</summary>
    ValueTask<AppendStatus> DeleteBlobAsync(ConversationKey key, long epoch, string name, CancellationToken cancellation = default);

    /// <summary>
    /// Deletes for every owner at once: the epoch rises, a tombstone stays, and all content goes, blobs too. False when there is none of that key or
    /// it was deleted before.
    /// </summary>
    ValueTask<bool> DeleteAsync(ConversationKey key, CancellationToken cancellation = default);
}
