using LongCtx.Conversations.Storage;
using Microsoft.Data.Sqlite;

namespace LongCtx.Storage.Sqlite;

/// <summary>
/// Conversations in one SQLite database, <c>longctx.db</c> in the data directory, which belongs to this process as long as the store is open.
/// One thread writes, for all conversations; reads never wait for it.
/// </summary>
public sealed partial class SqliteConversationStore : IConversationStore
{
    readonly TimeProvider clock;
    readonly FileStream directoryLock;
    readonly GroupWriter writer;
    readonly Readers readers;
    bool isDisposed;

    SqliteConversationStore(TimeProvider clock, FileStream directoryLock, GroupWriter writer, Readers readers, StoreDescription description) =>
        (this.clock, this.directoryLock, this.writer, this.readers, Description) = (clock, directoryLock, writer, readers, description);

    public StoreDescription Description { get; }

    /// <summary>Opens the database, or makes it, and brings an older one up to date.</summary>
    /// <exception cref="StoreException">
    /// The directory is in use or cannot be written to; the database is damaged, locked, another program's or a newer LongCtx's.
    /// </exception>
    public static async ValueTask<SqliteConversationStore> OpenAsync(SqliteStoreOptions options, CancellationToken cancellation = default) =>
        await Task.Run(() => Open(options with { Directory = Path.GetFullPath(options.Directory) }), cancellation).ConfigureAwait(false);

    static SqliteConversationStore Open(SqliteStoreOptions options)
    {
        string path = options.DatabasePath;
        Stack<IDisposable> opened = new();
        T Opened<T>(T part) where T : IDisposable
        {
            opened.Push(part);
            return part;
        }

        try
        {
            var exclusive = Opened(DirectoryLock.Take(options.Directory));
            var connection = Opened(OpenWriter(options));
            var description = Describe(connection, options);
            FinishPurges(connection);
            var sync = options.Durability == Durability.Standard ? Opened(new LogSync(path + "-wal", options.Flush, options.Clock)) : null;
            var reading = new Readers(path, Math.Clamp(Environment.ProcessorCount, 2, 8), options.BusyTimeout);
            return new(options.Clock, exclusive, new(connection, path, sync), reading, description);
        }
        catch (Exception e)
        {
            while (opened.TryPop(out var part)) part.Dispose();
            if (e is SqliteException inner) throw StoreErrors.From(inner, path);
            throw;
        }
    }

    /// <summary>The connection that writes, to a database that is up to date.</summary>
    internal static Connection OpenWriter(SqliteStoreOptions options)
    {
        var connection = Connection.Open(options.DatabasePath, SqliteOpenMode.ReadWriteCreate, options.BusyTimeout);
        try
        {
            if (connection.IsReadOnly) throw StoreErrors.ReadOnly(options.DatabasePath);
            Schema.Check(connection, options.DatabasePath, options.Migrations.Count);
            connection.Run($"""
                PRAGMA journal_mode = WAL;
                PRAGMA journal_size_limit = 67108864; -- after a burst, the log shrinks to 64 MiB again
                PRAGMA secure_delete = ON; -- what is deleted is overwritten
                PRAGMA synchronous = {Synchronous(options.Durability)}
                """);
            Schema.Migrate(connection, options.Migrations);
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    static string Synchronous(Durability level) => level switch
    {
        Durability.Relaxed => "OFF",
        Durability.Standard => "NORMAL",
        _ => "FULL",
    };

    static StoreDescription Describe(Connection connection, SqliteStoreOptions options)
    {
        string name = $"SQLite {connection.Version}, {options.DatabasePath}", directory = options.Directory;
        string format = OperatingSystem.IsWindows() ? "" : new DriveInfo(directory).DriveFormat;
        return format switch
        {
            "tmpfs" or "ramfs" => new(name, Durability.Relaxed, [$"{directory} is in memory: nothing of it survives a restart of this machine. Name a data directory on a disk."]),
            "nfs" or "nfs4" or "cifs" or "smb2" or "smbfs" =>
                new(name, options.Durability, [$"{directory} is on a network file system, where SQLite's log is not safe. Name a data directory on a local disk."]),
            _ => new(name, options.Durability, []),
        };
    }

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref isDisposed, true)) return;
        // Readers first: the connection that closes last takes the log into the database, and these may not.
        await readers.DisposeAsync().ConfigureAwait(false);
        await writer.DisposeAsync().ConfigureAwait(false);
        await directoryLock.DisposeAsync().ConfigureAwait(false);
    }
}
