using System.Globalization;
using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Sqlite;

/// <summary>
/// The tables and how older ones become today's. The file says which version it has (user_version) and that it is ours (application_id).
/// </summary>
internal static class Schema
{
    /// <summary>"LCtx".</summary>
    const int ApplicationId = 0x4C437478;

    /// <summary>Entry n brings version n to n + 1. What was released is never edited, only followed by another entry.</summary>
    public static IReadOnlyList<string> Migrations { get; } =
    [
        """
        -- One row for each conversation, deleted ones included.
        CREATE TABLE conversations (
            number      INTEGER PRIMARY KEY,  -- what the other tables call it
            tenant      TEXT    NOT NULL,
            id          TEXT    NOT NULL,
            model       TEXT    NOT NULL,
            created     INTEGER NOT NULL,     -- Unix milliseconds
            forked_from TEXT,                 -- id@seq
            deleted     INTEGER,              -- Unix milliseconds
            purging     INTEGER NOT NULL DEFAULT 0, -- 1: deleted, and some of its content is still here
            live        INTEGER NOT NULL DEFAULT 0, -- 1: a turn is in progress
            owner       TEXT,                 -- who acquired it last
            epoch       INTEGER NOT NULL DEFAULT 0,
            seq         INTEGER NOT NULL DEFAULT 0, -- of the newest event
            first_seq   INTEGER NOT NULL DEFAULT 1, -- of the oldest that is retained
            last_batch  TEXT,                 -- the batch that the newest event came with
            metadata    TEXT    NOT NULL,     -- a JSON object
            state       TEXT    NOT NULL DEFAULT '',
            UNIQUE (tenant, id)
        ) STRICT;
        CREATE INDEX conversations_listed ON conversations (tenant, id, deleted) WHERE deleted IS NULL;
        CREATE INDEX conversations_live ON conversations (live) WHERE live = 1;
        CREATE INDEX conversations_purging ON conversations (purging) WHERE purging = 1;

        -- The journals. A conversation's events lie together.
        CREATE TABLE events (
            conversation INTEGER NOT NULL,
            seq          INTEGER NOT NULL,
            kind         TEXT    NOT NULL,
            tokens       BLOB    NOT NULL,    -- little-endian int32
            body         TEXT    NOT NULL,    -- JSON
            PRIMARY KEY (conversation, seq)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE turns (
            conversation INTEGER NOT NULL,
            turn         INTEGER NOT NULL,
            turn_id      TEXT    NOT NULL,    -- chosen by the client
            payload_hash TEXT    NOT NULL,
            status       TEXT    NOT NULL,
            start_seq    INTEGER NOT NULL,
            end_seq      INTEGER NOT NULL,    -- 0 while it is in progress
            PRIMARY KEY (conversation, turn)
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX turns_by_id ON turns (conversation, turn_id);

        -- Tokens that left the window. Rows are large, so they are not kept inside the index.
        CREATE TABLE segments (
            conversation INTEGER NOT NULL,
            number       INTEGER NOT NULL,
            first        INTEGER NOT NULL,    -- index of the first token in the log
            tokens       BLOB    NOT NULL,    -- little-endian int32
            hash         TEXT    NOT NULL,
            PRIMARY KEY (conversation, number)
        ) STRICT;
        """,
        """
        -- Blobs of conversations. A number is never given again, so that whoever still reads an older one gets nothing of another.
        CREATE TABLE blobs (
            number       INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation INTEGER NOT NULL,
            name         TEXT,                -- null: not whole yet, or replaced or deleted
            length       INTEGER NOT NULL     -- in bytes
        ) STRICT;
        CREATE UNIQUE INDEX blobs_by_name ON blobs (conversation, name);
        CREATE INDEX blobs_unnamed ON blobs (name) WHERE name IS NULL;

        -- 1 MiB each, but the last. Rows are large, so they are not kept inside the index.
        CREATE TABLE blob_pieces (
            blob         INTEGER NOT NULL,
            piece        INTEGER NOT NULL,    -- 0, 1, 2, ...
            content      BLOB    NOT NULL,
            PRIMARY KEY (blob, piece)
        ) STRICT;
        """,
    ];

    /// <summary>Refuses what is not ours, before anything is written to it.</summary>
    /// <exception cref="StoreException">Another program's database, or a newer LongCtx's.</exception>
    public static void Check(Connection connection, string path, int newest)
    {
        long application = Pragma(connection, "application_id"), version = Pragma(connection, "user_version");
        bool isNew = application == 0 && version == 0 && connection.First("SELECT count(*) FROM sqlite_schema", row => row.GetInt64(0)) == 0;
        if (!isNew && application != ApplicationId)
            throw new StoreException($"{path} is another program's SQLite database. Name another data directory, or move that file away.", isTransient: false);
        if (version > newest)
        {
            throw new StoreException(
                $"{path} has schema version {version}, and this LongCtx knows versions up to {newest}. Start the newer LongCtx that wrote it, or name another data directory.", isTransient: false);
        }
    }

    /// <summary>Makes the tables, or brings those of an older version up to date, each version in a transaction of its own.</summary>
    public static void Migrate(Connection connection, IReadOnlyList<string> migrations)
    {
        for (int next = (int)Pragma(connection, "user_version") + 1; next <= migrations.Count; next++)
        {
            connection.Run(string.Create(CultureInfo.InvariantCulture, $"""
                BEGIN IMMEDIATE;
                {migrations[next - 1]}
                PRAGMA application_id = {ApplicationId};
                PRAGMA user_version = {next};
                COMMIT
                """));
        }
    }

    static long Pragma(Connection connection, string name) => connection.First("PRAGMA " + name, row => row.GetInt64(0));
}
