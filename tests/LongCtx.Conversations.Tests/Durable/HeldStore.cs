using System.Buffers;
using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Tests;

/// <summary>A store whose appends stand still from the n-th on, until they are let go: what a process is in the middle of when it ends.</summary>
/// <param name="appends">The first one that stands still.</param>
/// <param name="holdsEnds">Only what ends a turn stands still, and after it was stored: the owner is the last to hear of it.</param>
internal sealed class HeldStore(IConversationStore inner, int appends, bool holdsEnds = false) : IConversationStore
{
    readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
    readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);
    int _appends;

    /// <summary>The append that stands still has come.</summary>
    public Task Reached => _reached.Task;

    public void Release() => _released.TrySetResult();

    public StoreDescription Description => inner.Description;

    public async ValueTask<AppendResult> AppendAsync(ConversationKey key, AppendBatch batch, CancellationToken cancellation = default)
    {
        if (holdsEnds)
        {
            AppendResult stored = await inner.AppendAsync(key, batch, cancellation);
            if (!batch.Turns.Any(t => t.EndSeq > 0)) return stored;
            _reached.TrySetResult();
            await _released.Task;
            return stored;
        }

        if (Interlocked.Increment(ref _appends) >= appends)
        {
            _reached.TrySetResult();
            await _released.Task;
        }

        return await inner.AppendAsync(key, batch, cancellation);
    }

    public ValueTask<bool> CreateAsync(ConversationKey key, ConversationSeed seed, CancellationToken cancellation = default) => inner.CreateAsync(key, seed, cancellation);

    public ValueTask<StoredConversation?> FindAsync(ConversationKey key, CancellationToken cancellation = default) => inner.FindAsync(key, cancellation);

    public ValueTask<StoredConversation?> AcquireAsync(ConversationKey key, string owner, CancellationToken cancellation = default) => inner.AcquireAsync(key, owner, cancellation);

    public ValueTask<IReadOnlyList<StoredEvent>> ReadAsync(ConversationKey key, long after, int max, CancellationToken cancellation = default) => inner.ReadAsync(key, after, max, cancellation);

    public ValueTask<TurnInfo?> FindTurnAsync(ConversationKey key, string turnId, CancellationToken cancellation = default) => inner.FindTurnAsync(key, turnId, cancellation);

    public ValueTask<IReadOnlyList<TurnInfo>> ReadTurnsAsync(ConversationKey key, int after, int max, bool descending = false, CancellationToken cancellation = default) =>
        inner.ReadTurnsAsync(key, after, max, descending, cancellation);

    public ValueTask<IReadOnlyList<StoredSegment>> ReadSegmentsAsync(ConversationKey key, int after, int max, CancellationToken cancellation = default) =>
        inner.ReadSegmentsAsync(key, after, max, cancellation);

    public ValueTask<bool> SetMetadataAsync(ConversationKey key, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default) =>
        inner.SetMetadataAsync(key, metadata, cancellation);

    public ValueTask<IReadOnlyList<StoredConversation>> ListAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation = default) =>
        inner.ListAsync(tenant, after, max, descending, cancellation);

    public ValueTask<long> CountAsync(string tenant, CancellationToken cancellation = default) => inner.CountAsync(tenant, cancellation);

    public ValueTask<IReadOnlyList<ConversationKey>> ListLiveAsync(CancellationToken cancellation = default) => inner.ListLiveAsync(cancellation);

    public ValueTask<AppendStatus> TrimAsync(ConversationKey key, long epoch, long upTo, CancellationToken cancellation = default) => inner.TrimAsync(key, epoch, upTo, cancellation);

    public ValueTask<AppendStatus> PutBlobAsync(ConversationKey key, long epoch, string name, ReadOnlySequence<byte> content, CancellationToken cancellation = default) =>
        inner.PutBlobAsync(key, epoch, name, content, cancellation);

    public ValueTask<Stream?> ReadBlobAsync(ConversationKey key, string name, CancellationToken cancellation = default) => inner.ReadBlobAsync(key, name, cancellation);

    public ValueTask<IReadOnlyList<StoredBlob>> ListBlobsAsync(ConversationKey key, CancellationToken cancellation = default) => inner.ListBlobsAsync(key, cancellation);

    public ValueTask<AppendStatus> DeleteBlobAsync(ConversationKey key, long epoch, string name, CancellationToken cancellation = default) =>
        inner.DeleteBlobAsync(key, epoch, name, cancellation);

    public ValueTask<bool> DeleteAsync(ConversationKey key, CancellationToken cancellation = default) => inner.DeleteAsync(key, cancellation);

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}
