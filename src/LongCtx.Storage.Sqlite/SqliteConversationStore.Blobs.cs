using System.Buffers;
using System.Collections.Concurrent;
using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Sqlite;

// A blob is written in pieces, each in a transaction of its own, so that other writes get in between; it has no name until it is whole. A blob
// without a name is nobody's: one that was replaced or deleted, or one that is being put or was when its process ended.
partial class SqliteConversationStore
{
    /// <summary>Blobs that are being put by this process, the only one.</summary>
    readonly ConcurrentDictionary<long, bool> uploads = new();

    public async ValueTask<AppendStatus> PutBlobAsync(ConversationKey key, long epoch, string name, ReadOnlySequence<byte> content, CancellationToken cancellation = default)
    {
        StoredBlob.CheckName(name);
        var (status, blob) = await WriteAsync(c => BeginBlob(c, key, epoch, content.Length), cancellation).ConfigureAwait(false);
        if (status != AppendStatus.Appended) return status;
        try
        {
            int number = 0;
            foreach (byte[] piece in BlobPieces.Split(content))
            {
                int next = number++;
                status = await WriteAsync(c => IfOwner(c, key, epoch, _ => c.Execute(Sql.AddPiece, blob, next, piece)), cancellation).ConfigureAwait(false);
                if (status != AppendStatus.Appended) return status;
            }
            return await WriteAsync(c => IfOwner(c, key, epoch, head =>
            {
                c.Execute(Sql.TakeName, head.Number, name);
                c.Execute(Sql.GiveName, blob, name);
            }), cancellation).ConfigureAwait(false);
        }
        finally
        {
            uploads.TryRemove(blob, out _);
            await SweepBlobsAsync().ConfigureAwait(false);
        }
    }

    (AppendStatus Status, long Blob) BeginBlob(Connection connection, ConversationKey key, long epoch, long length)
    {
        long blob = 0;
        var status = IfOwner(connection, key, epoch, head =>
        {
            blob = connection.First(Sql.AddBlob, row => row.GetInt64(0), head.Number, length);
            uploads[blob] = true; // before anybody else can see it
        });
        return (status, blob);
    }

    public async ValueTask<Stream?> ReadBlobAsync(ConversationKey key, string name, CancellationToken cancellation = default)
    {
        StoredBlob.CheckName(name);
        var (blob, length) = await FirstAsync(Sql.FindBlob, row => (row.GetInt64(0), row.GetInt64(1)), cancellation, key.Tenant, key.Id, name).ConfigureAwait(false);
        return blob == 0
            ? null
            : new BlobStream($"The blob {name} of {key.Id}", length, (piece, stop) => FirstAsync(Sql.ReadPiece, row => row.GetFieldValue<byte[]>(0), stop, blob, piece));
    }

    public ValueTask<IReadOnlyList<StoredBlob>> ListBlobsAsync(ConversationKey key, CancellationToken cancellation = default) =>
        AllAsync(Sql.ListBlobs, row => new StoredBlob(row.GetString(0), row.GetInt64(1)), cancellation, key.Tenant, key.Id);

    public async ValueTask<AppendStatus> DeleteBlobAsync(ConversationKey key, long epoch, string name, CancellationToken cancellation = default)
    {
        StoredBlob.CheckName(name);
        var status = await WriteAsync(c => IfOwner(c, key, epoch, head => c.Execute(Sql.TakeName, head.Number, name)), cancellation).ConfigureAwait(false);
        await SweepBlobsAsync().ConfigureAwait(false);
        return status;
    }

    static AppendStatus IfOwner(Connection connection, ConversationKey key, long epoch, Action<WriteGuard> write)
    {
        if (connection.First(Sql.Guard, Rows.Guard, key.Tenant, key.Id) is not { } head) return AppendStatus.Gone;
        if (epoch != head.Epoch) return AppendStatus.Fenced;
        write(head);
        return AppendStatus.Appended;
    }

    /// <summary>Removes blobs that nobody can see any more, whosever they are.</summary>
    async ValueTask SweepBlobsAsync()
    {
        try
        {
            while (await WriteAsync(c => SweepBlobs(c, uploads), CancellationToken.None).ConfigureAwait(false)) { }
        }
        catch (StoreException)
        {
            // What the caller asked for is done; the next put or delete of a blob, or the next start, sweeps again.
        }
    }

    /// <summary>Removes a slice of a blob without a name; false when nothing is left but <paramref name="uploads"/>.</summary>
    static bool SweepBlobs(Connection connection, ConcurrentDictionary<long, bool> uploads)
    {
        foreach (long blob in connection.All(Sql.ListUnnamed, row => row.GetInt64(0)))
        {
            if (uploads.ContainsKey(blob)) continue;
            RemoveSlice(connection, blob);
            return true;
        }
        return false;
    }

    /// <summary>Removes one piece of a blob, or itself when it has none.</summary>
    static int RemoveSlice(Connection connection, long blob)
    {
        int removed = connection.Execute(Sql.RemovePiece, blob);
        return removed > 0 ? removed : connection.Execute(Sql.RemoveBlob, blob);
    }
}
