using System.Buffers;

namespace LongCtx.Conversations.Storage.Tests;

/// <param name="Call">The first call that fails: 1, 2, 3, ... in the order in which the store is called, whatever the member.</param>
/// <param name="LosesReply">The call reaches the store and only its reply is lost; otherwise it never gets there.</param>
/// <param name="IsTransient">What the exception says.</param>
/// <param name="Count">Calls that fail one after another.</param>
public sealed record Fault(int Call, bool LosesReply, bool IsTransient, int Count = 1);

/// <summary>
/// A store that fails at the calls it is told to. Run a script once without a fault to learn from <see cref="Calls"/> how many calls it makes,
/// then once for each of them. Disposes of the store behind it.
/// </summary>
public sealed class FaultyStore(IConversationStore inner, Fault? fault = null) : IConversationStore
{
    int calls, failures;

    /// <summary>Calls so far, failed ones included.</summary>
    public int Calls => Volatile.Read(ref calls);

    /// <summary>How often it failed: a test that expects a fault checks that there was one.</summary>
    public int Failures => Volatile.Read(ref failures);

    public StoreDescription Description => inner.Description;

    public ValueTask<bool> CreateAsync(ConversationKey key, ConversationSeed seed, CancellationToken cancellation = default) =>
        CallAsync(() => inner.CreateAsync(key, seed, cancellation));

    public ValueTask<StoredConversation?> FindAsync(ConversationKey key, CancellationToken cancellation = default) =>
        CallAsync(() => inner.FindAsync(key, cancellation));

    public ValueTask<StoredConversation?> AcquireAsync(ConversationKey key, string owner, CancellationToken cancellation = default) =>
        CallAsync(() => inner.AcquireAsync(key, owner, cancellation));

    public ValueTask<AppendResult> AppendAsync(ConversationKey key, AppendBatch batch, CancellationToken cancellation = default) =>
        CallAsync(() => inner.AppendAsync(key, batch, cancellation));

    public ValueTask<IReadOnlyList<StoredEvent>> ReadAsync(ConversationKey key, long after, int max, CancellationToken cancellation = default) =>
        CallAsync(() => inner.ReadAsync(key, after, max, cancellation));

    public ValueTask<TurnInfo?> FindTurnAsync(ConversationKey key, string turnId, CancellationToken cancellation = default) =>
        CallAsync(() => inner.FindTurnAsync(key, turnId, cancellation));

    public ValueTask<IReadOnlyList<TurnInfo>> ReadTurnsAsync(ConversationKey key, int after, int max, bool descending = false, CancellationToken cancellation = default) =>
        CallAsync(() => inner.ReadTurnsAsync(key, after, max, descending, cancellation));

    public ValueTask<IReadOnlyList<StoredSegment>> ReadSegmentsAsync(ConversationKey key, int after, int max, CancellationToken cancellation = default) =>
        CallAsync(() => inner.ReadSegmentsAsync(key, after, max, cancellation));

    public ValueTask<bool> SetMetadataAsync(ConversationKey key, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default) =>
        CallAsync(() => inner.SetMetadataAsync(key, metadata, cancellation));

    public ValueTask<IReadOnlyList<StoredConversation>> ListAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation = default) =>
        CallAsync(() => inner.ListAsync(tenant, after, max, descending, cancellation));

    public ValueTask<long> CountAsync(string tenant, CancellationToken cancellation = default) => CallAsync(() => inner.CountAsync(tenant, cancellation));

    public ValueTask<IReadOnlyList<ConversationKey>> ListLiveAsync(CancellationToken cancellation = default) => CallAsync(() => inner.ListLiveAsync(cancellation));

    public ValueTask<AppendStatus> TrimAsync(ConversationKey key, long epoch, long upTo, CancellationToken cancellation = default) =>
        CallAsync(() => inner.TrimAsync(key, epoch, upTo, cancellation));

    public ValueTask<AppendStatus> PutBlobAsync(ConversationKey key, long epoch, string name, ReadOnlySequence<byte> content, CancellationToken cancellation = default) =>
        CallAsync(() => inner.PutBlobAsync(key, epoch, name, content, cancellation));

    public ValueTask<Stream?> ReadBlobAsync(ConversationKey key, string name, CancellationToken cancellation = default) =>
        CallAsync(() => inner.ReadBlobAsync(key, name, cancellation));

    public ValueTask<IReadOnlyList<StoredBlob>> ListBlobsAsync(ConversationKey key, CancellationToken cancellation = default) =>
        CallAsync(() => inner.ListBlobsAsync(key, cancellation));

    public ValueTask<AppendStatus> DeleteBlobAsync(ConversationKey key, long epoch, string name, CancellationToken cancellation = default) =>
        CallAsync(() => inner.DeleteBlobAsync(key, epoch, name, cancellation));

    public ValueTask<bool> DeleteAsync(ConversationKey key, CancellationToken cancellation = default) => CallAsync(() => inner.DeleteAsync(key, cancellation));

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    async ValueTask<T> CallAsync<T>(Func<ValueTask<T>> call)
    {
        int number = Interlocked.Increment(ref calls);
        bool fails = fault is not null && number >= fault.Call && number - fault.Call < fault.Count;
        if (!fails) return await call().ConfigureAwait(false);
        Interlocked.Increment(ref failures);
        if (fault!.LosesReply) await call().ConfigureAwait(false);
        throw new StoreException($"Call {number} failed as the test asked for, {(fault.LosesReply ? "after" : "before")} it reached the store.", fault.IsTransient);
    }
}
