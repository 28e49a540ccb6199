using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Sqlite;

// The lambdas run on the writer's thread, inside its transaction.
partial class SqliteConversationStore
{
    /// <summary>Rows that one transaction deletes: a long conversation goes in slices, between which others write.</summary>
    const int Slice = 1000;

    public ValueTask<bool> CreateAsync(ConversationKey key, ConversationSeed seed, CancellationToken cancellation = default)
    {
        string metadata = Rows.Metadata(seed.Metadata);
        return WriteAsync(c => c.Execute(Sql.Create, key.Tenant, key.Id, seed.Model, seed.Created, metadata, seed.ForkedFrom) > 0, cancellation);
    }

    public ValueTask<StoredConversation?> AcquireAsync(ConversationKey key, string owner, CancellationToken cancellation = default) => WriteAsync(c =>
    {
        c.Execute(Sql.Acquire, key.Tenant, key.Id, owner);
        return c.First(Sql.Find, Rows.Conversation, key.Tenant, key.Id);
    }, cancellation);

    public ValueTask<bool> SetMetadataAsync(ConversationKey key, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default)
    {
        string text = Rows.Metadata(metadata);
        return WriteAsync(c => c.Execute(Sql.SetMetadata, key.Tenant, key.Id, text) > 0, cancellation);
    }

    public ValueTask<AppendResult> AppendAsync(ConversationKey key, AppendBatch batch, CancellationToken cancellation = default)
    {
        if (batch.Events.Count == 0) throw new ArgumentException("A batch has at least one event.", nameof(batch));
        for (int i = 0; i < batch.Events.Count; i++)
        {
            if (batch.Events[i].Seq != batch.ExpectedSeq + 1 + i)
                throw new ArgumentException($"Event {batch.Events[i].Seq} stands where {batch.ExpectedSeq + 1 + i} must: events follow the expected sequence number without a gap.", nameof(batch));
        }
        return WriteAsync(c => Append(c, key, batch), cancellation);
    }

    static AppendResult Append(Connection connection, ConversationKey key, AppendBatch batch)
    {
        if (connection.First(Sql.Guard, Rows.Guard, key.Tenant, key.Id) is not { } head) return new(AppendStatus.Gone, 0);
        if (batch.Epoch != head.Epoch) return new(AppendStatus.Fenced, head.Seq);
        string batchId = batch.BatchId.ToString();
        if (batch.ExpectedSeq != head.Seq) return new(batchId == head.LastBatch ? AppendStatus.Appended : AppendStatus.Conflict, head.Seq);

        long number = head.Number, seq = batch.Events[^1].Seq;
        foreach (var e in batch.Events) connection.Execute(Sql.AddEvent, number, e.Seq, e.Kind, Rows.Blob(e.Tokens.Span), e.Body);
        foreach (var t in batch.Turns)
            connection.Execute(Sql.PutTurn, number, t.Turn, t.TurnId, t.PayloadHash, t.Status.ToString(), t.StartSeq, t.EndSeq);
        foreach (var s in batch.Segments) connection.Execute(Sql.AddSegment, number, s.Number, s.First, Rows.Blob(s.Tokens.Span), s.Hash);
        connection.Execute(Sql.MoveHead, number, seq, batchId, batch.State);
        if (batch.IsLive != head.IsLive) connection.Execute(Sql.SetLive, number, batch.IsLive);
        return new(AppendStatus.Appended, seq);
    }

    public async ValueTask<AppendStatus> TrimAsync(ConversationKey key, long epoch, long upTo, CancellationToken cancellation = default)
    {
        while (true)
        {
            var (status, isDone) = await WriteAsync(c => Trim(c, key, epoch, upTo), cancellation).ConfigureAwait(false);
            if (isDone) return status;
        }
    }

    static (AppendStatus Status, bool IsDone) Trim(Connection connection, ConversationKey key, long epoch, long upTo)
    {
        if (connection.First(Sql.Guard, Rows.Guard, key.Tenant, key.Id) is not { } head) return (AppendStatus.Gone, true);
        if (epoch != head.Epoch) return (AppendStatus.Fenced, true);
        long wanted = Math.Min(upTo, head.Seq - 1) + 1, first = Math.Min(wanted, head.FirstSeq + Slice);
        if (first > head.FirstSeq)
        {
            connection.Execute(Sql.Trim, head.Number, first);
            connection.Execute(Sql.SetFirst, head.Number, first);
        }
        return (AppendStatus.Appended, first >= wanted);
    }

    public async ValueTask<bool> DeleteAsync(ConversationKey key, CancellationToken cancellation = default)
    {
        long deleted = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var head = await WriteAsync(c =>
        {
            var found = c.First(Sql.Guard, Rows.Guard, key.Tenant, key.Id);
            if (found is not null) c.Execute(Sql.Bury, found.Number, deleted);
            return found;
        }, cancellation).ConfigureAwait(false);
        if (head is null) return false;

        // From here on nobody sees it, and it is too late to cancel. What a crash leaves, the next start removes.
        while (!await WriteAsync(c => Purge(c, head.Number), CancellationToken.None).ConfigureAwait(false)) { }
        return true;
    }

    /// <summary>Removes a slice of a deleted conversation's content; true when nothing is left.</summary>
    static bool Purge(Connection connection, long number)
    {
        int removed = connection.Execute(Sql.PurgeEvents, number, Slice);
        if (removed == 0) removed = connection.Execute(Sql.PurgeTurns, number, Slice);
        if (removed == 0) removed = connection.Execute(Sql.PurgeSegments, number, Slice / 10);
        if (removed == 0 && connection.First(Sql.AnyBlob, row => row.GetInt64(0), number) is > 0 and var blob) removed = RemoveSlice(connection, blob);
        return removed == 0 && connection.Execute(Sql.Purged, number) > 0;
    }

    /// <summary>Removes what a process that was killed while it deleted, or put a blob, has left.</summary>
    static void FinishPurges(Connection connection)
    {
        foreach (long number in connection.All(Sql.Purging, row => row.GetInt64(0)))
        {
            while (!Purge(connection, number)) { }
        }
        while (SweepBlobs(connection, new())) { }
    }

    ValueTask<T> WriteAsync<T>(Func<Connection, T> work, CancellationToken cancellation) => new(writer.WriteAsync(work, cancellation));
}
