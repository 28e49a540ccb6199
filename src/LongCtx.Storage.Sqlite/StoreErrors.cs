using LongCtx.Conversations.Storage;
using Microsoft.Data.Sqlite;
using static SQLitePCL.raw;

namespace LongCtx.Storage.Sqlite;

/// <summary>What SQLite's error codes mean to an operator.</summary>
internal static class StoreErrors
{
    public static StoreException From(SqliteException e, string path)
    {
        // SHMSIZE: no room for the log's index.
        int code = e.SqliteExtendedErrorCode == SQLITE_IOERR_SHMSIZE ? SQLITE_FULL : e.SqliteErrorCode;
        (string text, bool isTransient) = code switch
        {
            SQLITE_FULL => ($"The disk that holds {path} is full. Nothing of this write was stored; make room, and writing works again.", false),
            SQLITE_BUSY or SQLITE_LOCKED => ($"{path} is locked by another program, such as sqlite3's shell or a backup. Let it finish, then try again.", true),
            SQLITE_READONLY or SQLITE_CANTOPEN or SQLITE_PERM or SQLITE_AUTH => (Forbidden(path), false),
            SQLITE_NOTADB => ($"{path} is not a SQLite database, or its beginning is damaged. {Cure(path)}", false),
            SQLITE_CORRUPT => ($"{path} is damaged. {Cure(path)}", false),
            SQLITE_IOERR => ($"Reading or writing {path} failed. Check the disk, its quota and the system's log.", false),
            SQLITE_NOMEM => ($"There is no memory left for {path}. Try again, with less at a time.", true),
            SQLITE_TOOBIG => ($"A text or its tokens are too big for {path}: a value may have 1,000,000,000 bytes. Append less at a time.", false),
            SQLITE_CONSTRAINT => ($"{path} refuses the write: it contradicts what is stored, such as a turn's id or a segment's number that is taken.", false),
            _ => ($"{path} failed.", false),
        };
        return new($"{text} (SQLite {e.SqliteExtendedErrorCode}: {e.Message})", isTransient, e);
    }

    public static StoreException ReadOnly(string path) => new(Forbidden(path), isTransient: false);

    static string Forbidden(string path) =>
        $"{path} cannot be opened for writing. Give this user the right to write to it and to its directory, or name another data directory.";

    static string Cure(string path) =>
        $"Restore it from a backup, save what can be read with `sqlite3 {path} .recover`, or move it away to begin anew.";
}
