using LongCtx.Conversations.Storage;
using Microsoft.Win32.SafeHandles;

namespace LongCtx.Storage.Sqlite;

/// <summary>
/// <see cref="Durability.Standard"/>: brings the write-ahead log to the disk soon after a commit; no commit waits for it.
/// </summary>
/// <remarks>SQLite locks the database file, and closing any handle on that would drop its locks. The log is not locked, so a handle of ours is safe.</remarks>
internal sealed class LogSync : IDisposable
{
    /// <summary>Leaves the sync itself half of the second that is promised.</summary>
    internal static readonly TimeSpan Delay = TimeSpan.FromMilliseconds(500);

    readonly string path;
    readonly Action<SafeFileHandle> flush;
    readonly SafeFileHandle log;
    readonly ITimer timer;
    readonly Lock gate = new();
    int isPending;
    volatile StoreException? failure;

    public LogSync(string path, Action<SafeFileHandle> flush, TimeProvider clock)
    {
        (this.path, this.flush) = (path, flush);
        log = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        timer = clock.CreateTimer(_ => Sync(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Why nothing may be acknowledged any more: after a failed sync the system may have dropped what it held, and the next one would not say so.</summary>
    public StoreException? Failure => failure;

    /// <summary>Something was written.</summary>
    public void Committed()
    {
        if (Interlocked.Exchange(ref isPending, 1) == 0) timer.Change(Delay, Timeout.InfiniteTimeSpan);
    }

    public void Dispose()
    {
        timer.Dispose();
        Sync();
        lock (gate) log.Dispose();
    }

    void Sync()
    {
        lock (gate)
        {
            if (log.IsClosed || Interlocked.Exchange(ref isPending, 0) == 0) return;
            try
            {
                flush(log);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                failure = new($"{path} could not be synced to the disk: {e.Message} The last second may be lost. Check the disk, then start again.", isTransient: false, e);
            }
        }
    }
}
