using System.Threading.Channels;
using Microsoft.Data.Sqlite;

namespace LongCtx.Storage.Sqlite;

/// <summary>Connections that only read. The write-ahead log lets each see the last commit at its beginning, and none waits for the writer.</summary>
internal sealed class Readers : IAsyncDisposable
{
    readonly Channel<Connection> idle = Channel.CreateUnbounded<Connection>();
    readonly string path;
    readonly int count;

    /// <param name="path">Of a database that is open for writing.</param>
    /// <param name="count">How many calls read at the same time; more wait for their turn.</param>
    /// <param name="busyTimeout">As for the writer.</param>
    public Readers(string path, int count, TimeSpan busyTimeout)
    {
        (this.path, this.count) = (path, count);
        try
        {
            for (int i = 0; i < count; i++) idle.Writer.TryWrite(Connection.Open(path, SqliteOpenMode.ReadOnly, busyTimeout));
        }
        catch
        {
            while (idle.Reader.TryRead(out var connection)) connection.Dispose();
            throw;
        }
    }

    /// <summary>Runs on the caller's thread: a read of a page takes less time than a change of threads.</summary>
    public async ValueTask<T> ReadAsync<T>(Func<Connection, T> work, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        Connection connection;
        try
        {
            connection = await idle.Reader.ReadAsync(cancellation).ConfigureAwait(false);
        }
        catch (ChannelClosedException e)
        {
            throw new ObjectDisposedException($"The store {path} is closed.", e);
        }

        try
        {
            return work(connection);
        }
        catch (SqliteException e)
        {
            throw StoreErrors.From(e, path);
        }
        finally
        {
            idle.Writer.TryWrite(connection);
        }
    }

    /// <summary>Reads that have begun end as usual.</summary>
    public async ValueTask DisposeAsync()
    {
        for (int i = 0; i < count; i++) (await idle.Reader.ReadAsync().ConfigureAwait(false)).Dispose();
        idle.Writer.Complete();
    }
}
