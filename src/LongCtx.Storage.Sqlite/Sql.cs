namespace LongCtx.Storage.Sqlite;

/// <summary>Every statement that the store runs; a test reads the plan of each.</summary>
internal static class Sql
{
    const string Head = "tenant, id, model, created, metadata, forked_from, epoch, seq, first_seq, state, deleted";

    const string OfKey = "conversations WHERE tenant = ?1 AND id = ?2";

    /// <summary>What the other tables call the conversation; null when it is not there or deleted, and then they have no row of it.</summary>
    const string Number = $"(SELECT number FROM {OfKey} AND deleted IS NULL)";

    const string Listed = $"SELECT {Head} FROM conversations INDEXED BY conversations_listed WHERE tenant = ?1 AND deleted IS NULL";

    const string Turns = $"SELECT turn, turn_id, payload_hash, status, start_seq, end_seq FROM turns WHERE conversation = {Number}";

    // Conversations

    public const string Create =
        "INSERT INTO conversations (tenant, id, model, created, metadata, forked_from) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";

    public const string Find = $"SELECT {Head} FROM {OfKey}";

    public const string Acquire = "UPDATE conversations SET epoch = epoch + 1, owner = ?3 WHERE tenant = ?1 AND id = ?2 AND deleted IS NULL";

    public const string SetMetadata = "UPDATE conversations SET metadata = ?3 WHERE tenant = ?1 AND id = ?2 AND deleted IS NULL";

    public const string ListFromFirst = $"{Listed} ORDER BY id LIMIT ?2";

    public const string ListFromLast = $"{Listed} ORDER BY id DESC LIMIT ?2";

    public const string ListAbove = $"{Listed} AND id > ?3 ORDER BY id LIMIT ?2";

    public const string ListBelow = $"{Listed} AND id < ?3 ORDER BY id DESC LIMIT ?2";

    public const string Count = "SELECT count(*) FROM conversations WHERE tenant = ?1 AND deleted IS NULL";

    public const string ListLive = "SELECT tenant, id FROM conversations WHERE live = 1";

    // Journals

    /// <summary>What decides whether a write gets in.</summary>
    public const string Guard = $"SELECT number, epoch, seq, first_seq, last_batch, live FROM {OfKey} AND deleted IS NULL";

    public const string AddEvent = "INSERT INTO events (conversation, seq, kind, tokens, body) VALUES (?1, ?2, ?3, ?4, ?5)";

    public const string PutTurn = """
        INSERT INTO turns (conversation, turn, turn_id, payload_hash, status, start_seq, end_seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (conversation, turn) DO UPDATE SET
            turn_id = excluded.turn_id, payload_hash = excluded.payload_hash, status = excluded.status, start_seq = excluded.start_seq, end_seq = excluded.end_seq
        """;

    public const string AddSegment = "INSERT INTO segments (conversation, number, first, tokens, hash) VALUES (?1, ?2, ?3, ?4, ?5)";

    public const string MoveHead = "UPDATE conversations SET seq = ?2, last_batch = ?3, state = ?4 WHERE number = ?1";

    /// <summary>Apart from <see cref="MoveHead"/>, because it changes rarely and is indexed.</summary>
    public const string SetLive = "UPDATE conversations SET live = ?2 WHERE number = ?1";

    public const string ReadEvents = $"SELECT seq, kind, tokens, body FROM events WHERE conversation = {Number} AND seq > ?3 ORDER BY seq LIMIT ?4";

    public const string FindTurn = $"{Turns} AND turn_id = ?3";

    public const string ReadTurnsUp = $"{Turns} AND turn > ?3 ORDER BY turn LIMIT ?4";

    public const string ReadTurnsDown = $"{Turns} AND turn < ?3 ORDER BY turn DESC LIMIT ?4";

    public const string ReadSegments =
        $"SELECT s.number, s.first, s.tokens, s.hash FROM segments s WHERE s.conversation = {Number} AND s.number > ?3 ORDER BY s.number LIMIT ?4";

    // Blobs

    public const string AddBlob = "INSERT INTO blobs (conversation, length) VALUES (?1, ?2) RETURNING number";

    public const string AddPiece = "INSERT INTO blob_pieces (blob, piece, content) VALUES (?1, ?2, ?3)";

    public const string TakeName = "UPDATE blobs SET name = NULL WHERE conversation = ?1 AND name = ?2";

    public const string GiveName = "UPDATE blobs SET name = ?2 WHERE number = ?1";

    public const string FindBlob = $"SELECT number, length FROM blobs WHERE conversation = {Number} AND name = ?3";

    public const string ReadPiece = "SELECT content FROM blob_pieces WHERE blob = ?1 AND piece = ?2";

    public const string ListBlobs = $"SELECT name, length FROM blobs WHERE conversation = {Number} AND name IS NOT NULL ORDER BY name";

    public const string ListUnnamed = "SELECT number FROM blobs INDEXED BY blobs_unnamed WHERE name IS NULL";

    public const string RemovePiece = "DELETE FROM blob_pieces WHERE blob = ?1 AND piece = (SELECT min(piece) FROM blob_pieces WHERE blob = ?1)";

    public const string RemoveBlob = "DELETE FROM blobs WHERE number = ?1";

    // Trimming and deletion

    public const string Trim = "DELETE FROM events WHERE conversation = ?1 AND seq < ?2";

    public const string SetFirst = "UPDATE conversations SET first_seq = ?2 WHERE number = ?1";

    public const string Bury = """
        UPDATE conversations SET deleted = ?2, epoch = epoch + 1, purging = 1, live = 0, first_seq = seq + 1, last_batch = NULL, metadata = '{}', state = ''
        WHERE number = ?1
        """;

    public const string Purging = "SELECT number FROM conversations WHERE purging = 1";

    public const string PurgeEvents = "DELETE FROM events WHERE conversation = ?1 AND seq < ?2 + (SELECT min(seq) FROM events WHERE conversation = ?1)";

    public const string PurgeTurns = "DELETE FROM turns WHERE conversation = ?1 AND turn < ?2 + (SELECT min(turn) FROM turns WHERE conversation = ?1)";

    public const string PurgeSegments = "DELETE FROM segments WHERE conversation = ?1 AND number < ?2 + (SELECT min(number) FROM segments WHERE conversation = ?1)";

    public const string AnyBlob = "SELECT number FROM blobs WHERE conversation = ?1 LIMIT 1";

    public const string Purged = "UPDATE conversations SET purging = 0 WHERE number = ?1";
}
