using System.Collections.Concurrent;
using Microsoft.Data.Sqlite;

namespace LongCtx.Storage.Sqlite;

/// <summary>
/// The only one who writes: a thread that takes the writes which queued meanwhile, whosever they are, into one transaction, and acknowledges
/// them when it is committed. So one sync serves them all. Each is in a savepoint of its own: where one fails, the others are stored.
/// </summary>
internal sealed class GroupWriter : IAsyncDisposable
{
    /// <summary>Bounds how long the first of a group waits for the last.</summary>
    const int GroupMax = 256;

    readonly Connection connection;
    readonly string path;
    readonly LogSync? sync;
    readonly BlockingCollection<Write> queue = [];
    readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <param name="connection">Owned from now on.</param>
    /// <param name="path">Of the database, for messages.</param>
    /// <param name="sync">Told of commits, and owned; null where a commit itself decides.</param>
    public GroupWriter(Connection connection, string path, LogSync? sync)
    {
        (this.connection, this.path, this.sync) = (connection, path, sync);
        new Thread(Run) { Name = "SQLite writer", IsBackground = true }.Start();
    }

    /// <summary>What <paramref name="work"/> returned, once that is committed. Cancelled only as long as it has not begun.</summary>
    public Task<T> WriteAsync<T>(Func<Connection, T> work, CancellationToken cancellation)
    {
        Write<T> write = new(work, cancellation);
        try
        {
            queue.Add(write, CancellationToken.None);
        }
        catch (InvalidOperationException e)
        {
            throw new ObjectDisposedException($"The store {path} is closed.", e);
        }
        return write.Task;
    }

    /// <summary>What was queued is still written.</summary>
    public async ValueTask DisposeAsync()
    {
        queue.CompleteAdding();
        await ended.Task.ConfigureAwait(false);
        sync?.Dispose();
        connection.Dispose();
    }

    void Run()
    {
        List<Write> group = [];
        foreach (var first in queue.GetConsumingEnumerable())
        {
            group.Add(first);
            while (group.Count < GroupMax && queue.TryTake(out var next)) group.Add(next);
            group.RemoveAll(write => write.IsCancelled());
            if (group.Count > 0) Commit(group);
            group.Clear();
        }
        ended.SetResult();
    }

    void Commit(List<Write> group)
    {
        try
        {
            if (sync?.Failure is { } failure) throw failure;
            connection.Execute("BEGIN IMMEDIATE");
            foreach (var write in group) Execute(write);
            connection.Execute("COMMIT");
        }
        catch (Exception e)
        {
            if (connection.IsInTransaction) connection.Execute("ROLLBACK");
            foreach (var write in group) write.Fail(Explain(e));
            return;
        }
        sync?.Committed();
        foreach (var write in group) write.Acknowledge();
    }

    void Execute(Write write)
    {
        connection.Execute("SAVEPOINT write");
        try
        {
            write.Execute(connection);
        }
        catch (Exception e) when (connection.IsInTransaction) // otherwise the whole group is lost
        {
            connection.Execute("ROLLBACK TO write");
            write.Fail(Explain(e));
        }
        connection.Execute("RELEASE write");
    }

    Exception Explain(Exception e) => e is SqliteException inner ? StoreErrors.From(inner, path) : e;
}
