using System.Buffers;
using System.Text;

namespace LongCtx.Conversations.Storage.Tests;

/// <summary>The contract in dictionaries under one lock: the twin that the real stores are compared with. What it holds outlives its disposal.</summary>
public sealed class NaiveStore : IConversationStore
{
    sealed class Journal(StoredConversation head)
    {
        public StoredConversation Head = head;
        public Guid LastBatch;
        public bool IsLive;
        public readonly List<StoredEvent> Events = [];
        public readonly SortedDictionary<int, TurnInfo> Turns = [];
        public readonly List<StoredSegment> Segments = [];
        public readonly SortedDictionary<string, byte[]> Blobs = new(StringComparer.Ordinal);
    }

    readonly Lock gate = new();
    readonly Dictionary<ConversationKey, Journal> journals = [];

    public StoreDescription Description { get; } = new("memory", Durability.Relaxed, []);

    /// <summary>What it holds now, as another store: what a crash at this instant would leave.</summary>
    public NaiveStore Copy()
    {
        var copy = new NaiveStore();
        lock (gate)
        {
            foreach ((ConversationKey key, Journal from) in journals)
            {
                var to = new Journal(from.Head) { LastBatch = from.LastBatch, IsLive = from.IsLive };
                to.Events.AddRange(from.Events);
                to.Segments.AddRange(from.Segments);
                foreach (var (number, turn) in from.Turns) to.Turns.Add(number, turn);
                foreach (var (name, blob) in from.Blobs) to.Blobs.Add(name, blob);
                copy.journals.Add(key, to);
            }
        }

        return copy;
    }

    public ValueTask<bool> CreateAsync(ConversationKey key, ConversationSeed seed, CancellationToken cancellation = default) => Do(cancellation, () =>
    {
        Check([key.Tenant, key.Id, seed.Model, seed.ForkedFrom, .. seed.Metadata.Keys, .. seed.Metadata.Values]);
        return journals.TryAdd(key, new(new(key, seed) { Epoch = 0, Seq = 0, FirstSeq = 1, State = "" }));
    });

    public ValueTask<StoredConversation?> FindAsync(ConversationKey key, CancellationToken cancellation = default) => Do(cancellation, () => Any(key)?.Head);

    public ValueTask<StoredConversation?> AcquireAsync(ConversationKey key, string owner, CancellationToken cancellation = default) => Do(cancellation, () =>
    {
        if (Find(key) is { } journal) journal.Head = journal.Head with { Epoch = journal.Head.Epoch + 1 };
        return Any(key)?.Head;
    });

    public ValueTask<AppendResult> AppendAsync(ConversationKey key, AppendBatch batch, CancellationToken cancellation = default) => Do(cancellation, () =>
    {
        Check([batch.State, .. batch.Events.SelectMany(e => new[] { e.Kind, e.Body }), .. batch.Turns.SelectMany(t => new[] { t.TurnId, t.PayloadHash }), .. batch.Segments.Select(s => s.Hash)]);
        if (batch.Events.Count == 0 || batch.Events.Index().Any(e => e.Item.Seq != batch.ExpectedSeq + 1 + e.Index)) throw new ArgumentException("Badly numbered.", nameof(batch));
        if (Find(key) is not { Head: var head } journal) return new(AppendStatus.Gone, 0);
        if (batch.Epoch != head.Epoch) return new(AppendStatus.Fenced, head.Seq);
        if (batch.ExpectedSeq != head.Seq) return new(batch.BatchId == journal.LastBatch ? AppendStatus.Appended : AppendStatus.Conflict, head.Seq);

        journal.Events.AddRange(batch.Events);
        foreach (var turn in batch.Turns) journal.Turns[turn.Turn] = turn;
        journal.Segments.AddRange(batch.Segments);
        (journal.LastBatch, journal.IsLive) = (batch.BatchId, batch.IsLive);
        long seq = head.Seq + batch.Events.Count;
        journal.Head = head with { Seq = seq, State = batch.State };
        return new AppendResult(AppendStatus.Appended, seq);
    });

    public ValueTask<IReadOnlyList<StoredEvent>> ReadAsync(ConversationKey key, long after, int max, CancellationToken cancellation = default) =>
        DoList(cancellation, () => Find(key)?.Events.Where(e => e.Seq > after).Take(max));

    public ValueTask<TurnInfo?> FindTurnAsync(ConversationKey key, string turnId, CancellationToken cancellation = default) => Do(cancellation, () =>
    {
        Check([turnId]);
        return Find(key)?.Turns.Values.FirstOrDefault(t => t.TurnId == turnId);
    });

    public ValueTask<IReadOnlyList<TurnInfo>> ReadTurnsAsync(ConversationKey key, int after, int max, bool descending = false, CancellationToken cancellation = default) =>
        DoList(cancellation, () => (descending
            ? Find(key)?.Turns.Values.Reverse().Where(t => after == 0 || t.Turn < after)
            : Find(key)?.Turns.Values.Where(t => t.Turn > after))?.Take(max));

    public ValueTask<IReadOnlyList<StoredSegment>> ReadSegmentsAsync(ConversationKey key, int after, int max, CancellationToken cancellation = default) =>
        DoList(cancellation, () => Find(key)?.Segments.Where(s => s.Number > after).Take(max));

    public ValueTask<bool> SetMetadataAsync(ConversationKey key, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default) => Do(cancellation, () =>
    {
        Check([.. metadata.Keys, .. metadata.Values]);
        if (Find(key) is not { } journal) return false;
        journal.Head = journal.Head with { Seed = journal.Head.Seed with { Metadata = metadata } };
        return true;
    });

    public ValueTask<IReadOnlyList<StoredConversation>> ListAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation = default) =>
        DoList(cancellation, () =>
        {
            var all = journals.Values.Select(j => j.Head).Where(h => h.Key.Tenant == tenant && h.Deleted is null).OrderBy(h => h.Key.Id, StringComparer.Ordinal).ToList();
            if (descending) all.Reverse();
            return all.Where(h => after is null || (descending ? string.CompareOrdinal(h.Key.Id, after) < 0 : string.CompareOrdinal(h.Key.Id, after) > 0)).Take(max);
        });

    public ValueTask<long> CountAsync(string tenant, CancellationToken cancellation = default) =>
        Do(cancellation, () => journals.Values.LongCount(j => j.Head.Key.Tenant == tenant && j.Head.Deleted is null));

    public ValueTask<IReadOnlyList<ConversationKey>> ListLiveAsync(CancellationToken cancellation = default) =>
        DoList(cancellation, () => journals.Values.Where(j => j.IsLive).Select(j => j.Head.Key));

    public ValueTask<AppendStatus> TrimAsync(ConversationKey key, long epoch, long upTo, CancellationToken cancellation = default) => Do(cancellation, () =>
    {
        if (Find(key) is not { Head: var head } journal) return AppendStatus.Gone;
        if (epoch != head.Epoch) return AppendStatus.Fenced;
        journal.Events.RemoveAll(e => e.Seq <= upTo && e.Seq < head.Seq);
        journal.Head = head with { FirstSeq = journal.Events.Count > 0 ? journal.Events[0].Seq : head.Seq + 1 };
        return AppendStatus.Appended;
    });

    public async ValueTask<AppendStatus> PutBlobAsync(ConversationKey key, long epoch, string name, ReadOnlySequence<byte> content, CancellationToken cancellation = default)
    {
        byte[] bytes = content.ToArray(); // before the lock: the content may keep us waiting
        return await ChangeBlobAsync(key, epoch, name, blobs => blobs[name] = bytes, cancellation).ConfigureAwait(false);
    }

    public ValueTask<Stream?> ReadBlobAsync(ConversationKey key, string name, CancellationToken cancellation = default) => Do<Stream?>(cancellation, () =>
    {
        StoredBlob.CheckName(name);
        return Find(key)?.Blobs.GetValueOrDefault(name) is { } bytes ? new MemoryStream(bytes, writable: false) : null;
    });

    public ValueTask<IReadOnlyList<StoredBlob>> ListBlobsAsync(ConversationKey key, CancellationToken cancellation = default) =>
        DoList(cancellation, () => Find(key)?.Blobs.Select(b => new StoredBlob(b.Key, b.Value.Length)));

    public ValueTask<AppendStatus> DeleteBlobAsync(ConversationKey key, long epoch, string name, CancellationToken cancellation = default) =>
        ChangeBlobAsync(key, epoch, name, blobs => blobs.Remove(name), cancellation);

    ValueTask<AppendStatus> ChangeBlobAsync(ConversationKey key, long epoch, string name, Action<SortedDictionary<string, byte[]>> change, CancellationToken cancellation) =>
        Do(cancellation, () =>
        {
            StoredBlob.CheckName(name);
            if (Find(key) is not { Head: var head } journal) return AppendStatus.Gone;
            if (epoch != head.Epoch) return AppendStatus.Fenced;
            change(journal.Blobs);
            return AppendStatus.Appended;
        });

    public ValueTask<bool> DeleteAsync(ConversationKey key, CancellationToken cancellation = default) => Do(cancellation, () =>
    {
        if (Find(key) is not { Head: var head }) return false;
        var seed = head.Seed with { Metadata = new Dictionary<string, string>() };
        journals[key] = new(head with { Seed = seed, Epoch = head.Epoch + 1, FirstSeq = head.Seq + 1, State = "", Deleted = 1 });
        return true;
    });

    public ValueTask DisposeAsync() => default;

    Journal? Any(ConversationKey key)
    {
        Check([key.Tenant, key.Id]);
        return journals.GetValueOrDefault(key);
    }

    Journal? Find(ConversationKey key) => Any(key) is { Head.Deleted: null } journal ? journal : null;

    async ValueTask<T> Do<T>(CancellationToken cancellation, Func<T> work)
    {
        await Task.CompletedTask.ConfigureAwait(false); // an exception is the task's
        cancellation.ThrowIfCancellationRequested();
        lock (gate) return work();
    }

    async ValueTask<IReadOnlyList<T>> DoList<T>(CancellationToken cancellation, Func<IEnumerable<T>?> work) =>
        await Do<IReadOnlyList<T>>(cancellation, () => [.. work() ?? []]).ConfigureAwait(false);

    static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    static void Check(IEnumerable<string?> texts)
    {
        foreach (string? text in texts) Strict.GetByteCount(text ?? "");
    }
}
