namespace LongCtx.Storage.Redis;

/// <summary>
/// Everything that Redis is asked to do. Each script is atomic, checks before its first write, and may be run again at any later time: a call
/// whose reply was lost or that timed out may still be on its way. Numbers stay strings, except those that are compared by size.
/// </summary>
internal static class Scripts
{
    /// <summary>KEYS head.</summary>
    public const string Find = """
        return redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'first', 'state', 'model', 'created', 'metadata', 'forkedFrom', 'deleted', 'live')
        """;

    /// <summary>KEYS head. ARGV id of the call, then names and values of the head's fields.</summary>
    public const string Create = """
        local head = redis.call('HMGET', KEYS[1], 'epoch', 'creation', 'deleted')
        if head[3] then return 'deleted' end
        if head[1] then return head[2] == ARGV[1] and 'created' or 'exists' end
        redis.call('HSET', KEYS[1], 'creation', ARGV[1], unpack(ARGV, 2))
        return 'created'
        """;

    /// <summary>
    /// KEYS head. ARGV id of the call, the epoch that it saw, owner. Refused when the epoch is another one by now, so that a call that is
    /// carried out late takes nothing from the owner of then. The clock keeps epochs rising when a failover has rolled the head back.
    /// </summary>
    public const string Acquire = """
        local head = redis.call('HMGET', KEYS[1], 'epoch', 'acquisition', 'deleted')
        if head[1] and not head[3] and head[2] ~= ARGV[1] then
            if head[1] ~= ARGV[2] then return 'moved' end
        """ + "\n" + NextEpoch + "\n" + """
            redis.call('HSET', KEYS[1], 'epoch', epoch, 'owner', ARGV[3], 'acquisition', ARGV[1])
        end
        """ + "\n" + Find;

    /// <summary>
    /// KEYS all. ARGV epoch, expected seq, batch, seq afterwards, state, live, how many events and turns; then four values for each event, three
    /// for each turn, four for each segment. Segments come first: Redis refuses an id that does not rise, and nothing has been written then.
    /// </summary>
    public const string Append = """
        local head = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'lastBatch', 'deleted')
        if not head[1] or head[4] then return {'gone', '0'} end
        if head[1] ~= ARGV[1] then return {'fenced', head[2]} end
        if head[2] ~= ARGV[2] then return {head[3] == ARGV[3] and 'appended' or 'conflict', head[2]} end
        local events, turns = 9, 9 + 4 * ARGV[7]
        local segments = turns + 3 * ARGV[8]
        for i = segments, #ARGV, 4 do
            redis.call('XADD', KEYS[5], ARGV[i] .. '-0', 'first', ARGV[i + 1], 'tokens', ARGV[i + 2], 'hash', ARGV[i + 3])
        end
        for i = events, turns - 1, 4 do
            redis.call('XADD', KEYS[2], ARGV[i] .. '-0', 'kind', ARGV[i + 1], 'tokens', ARGV[i + 2], 'body', ARGV[i + 3])
        end
        for i = turns, segments - 1, 3 do
            redis.call('ZREMRANGEBYSCORE', KEYS[3], ARGV[i], ARGV[i])
            redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i + 2])
            redis.call('HSET', KEYS[4], ARGV[i + 1], ARGV[i])
        end
        redis.call('HSET', KEYS[1], 'seq', ARGV[4], 'lastBatch', ARGV[3], 'state', ARGV[5], 'live', ARGV[6])
        return {'appended', ARGV[4]}
        """;

    /// <summary>KEYS log, head. ARGV epoch, the last seq to forget. Sequence numbers are dense, so a length says where the log begins.</summary>
    public const string Trim = """
        local head = redis.call('HMGET', KEYS[2], 'epoch', 'seq', 'first', 'deleted')
        if not head[1] or head[4] then return 'gone' end
        if head[1] ~= ARGV[1] then return 'fenced' end
        local upTo = math.min(tonumber(ARGV[2]), head[2] - 1)
        if upTo >= tonumber(head[3]) then
            redis.call('XTRIM', KEYS[1], 'MAXLEN', string.format('%.0f', head[2] - upTo))
            redis.call('HSET', KEYS[2], 'first', string.format('%.0f', upTo + 1))
        end
        return 'appended'
        """;

    /// <summary>KEYS head. A number that rises with every change of the metadata; nil when there is nothing to change.</summary>
    public const string MetadataTicket = """
        local head = redis.call('HMGET', KEYS[1], 'epoch', 'deleted')
        return head[1] and not head[2] and redis.call('HINCRBY', KEYS[1], 'metadataTicket', 1)
        """;

    /// <summary>KEYS head. ARGV ticket, metadata. A change that is carried out after a later one changes nothing.</summary>
    public const string SetMetadata = """
        local head = redis.call('HMGET', KEYS[1], 'epoch', 'deleted', 'metadataVersion')
        if not head[1] or head[2] then return 0 end
        if tonumber(ARGV[1]) > tonumber(head[3] or 0) then
            redis.call('HSET', KEYS[1], 'metadataVersion', ARGV[1], 'metadata', ARGV[2])
        end
        return 1
        """;

    /// <summary>
    /// KEYS all, then the uploads of its blobs. ARGV id of the call, life of the tombstone in milliseconds, then what the blobs are. Refused when
    /// there is another blob by now, because a script may only touch keys that it was given.
    /// </summary>
    public const string Delete = """
        local head = redis.call('HMGET', KEYS[1], 'epoch', 'deleted', 'deletion', 'seq', 'model', 'created', 'forkedFrom')
        if not head[1] then return 'none' end
        if head[2] then return head[3] == ARGV[1] and 'deleted' or 'again' end
        local given = {}
        for i = 3, #ARGV do given[ARGV[i]] = true end
        for _, blob in ipairs(redis.call('HVALS', KEYS[6])) do
            if not given[blob] then return 'moved' end
        end
        """ + "\n" + NextEpoch + "\n" + """
        redis.call('UNLINK', unpack(KEYS))
        redis.call('HSET', KEYS[1], 'epoch', epoch, 'deleted', now, 'deletion', ARGV[1], 'seq', head[4], 'first', string.format('%.0f', head[4] + 1),
            'state', '', 'model', head[5], 'created', head[6], 'metadata', '{}')
        if head[7] then redis.call('HSET', KEYS[1], 'forkedFrom', head[7]) end
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
        return 'deleted'
        """;

    /// <summary>Sets epoch and now (Unix milliseconds) from head[1].</summary>
    const string NextEpoch = """
        local time = redis.call('TIME')
        local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
        local epoch = string.format('%.0f', math.max(head[1] + 1, tonumber(now)))
        """;

    /// <summary>What a write of blobs begins with: KEYS head is the first, ARGV epoch the first.</summary>
    const string CheckOwner = """
        local head = redis.call('HMGET', KEYS[1], 'epoch', 'deleted')
        if not head[1] or head[2] then return 'gone' end
        if head[1] ~= ARGV[1] then return 'fenced' end
        """ + "\n";

    /// <summary>Leaves nothing of an upload, and for a while the mark that no late call may go on with it.</summary>
    const string Close = """
        local function close(upload, life)
            redis.call('UNLINK', upload)
            redis.call('HSET', upload, 'closed', 1)
            redis.call('PEXPIRE', upload, life)
        end
        """ + "\n";

    /// <summary>KEYS head, upload. ARGV epoch, number of the piece, content, life of the upload in milliseconds. One that is a blob already (it does not expire) or closed is left.</summary>
    public const string AddPiece = CheckOwner + """
        if redis.call('PTTL', KEYS[2]) == -1 or redis.call('HEXISTS', KEYS[2], 'closed') == 1 then return 'appended' end
        redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
        redis.call('PEXPIRE', KEYS[2], ARGV[4])
        return 'appended'
        """;

    /// <summary>
    /// KEYS head, blobs, upload, and the upload of the blob before if there is one. ARGV epoch, name, the blob, the one before or nothing, number of
    /// pieces, life of a closed upload in milliseconds. 'lost' when not all pieces are there.
    /// </summary>
    public const string PutBlob = Close + CheckOwner + """
        local current = redis.call('HGET', KEYS[2], ARGV[2]) or ''
        if current == ARGV[3] then return 'appended' end
        if current ~= ARGV[4] then return 'moved' end
        if redis.call('HEXISTS', KEYS[3], 'closed') == 1 or redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[5]) then return 'lost' end
        redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
        redis.call('PERSIST', KEYS[3])
        if KEYS[4] then close(KEYS[4], ARGV[6]) end
        return 'appended'
        """;

    /// <summary>KEYS head, blobs, and the blob's upload if there is one. ARGV epoch, name, the blob or nothing, life of a closed upload in milliseconds.</summary>
    public const string DeleteBlob = Close + CheckOwner + """
        local current = redis.call('HGET', KEYS[2], ARGV[2]) or ''
        if current == '' then return 'appended' end
        if current ~= ARGV[3] then return 'moved' end
        redis.call('HDEL', KEYS[2], ARGV[2])
        close(KEYS[3], ARGV[4])
        return 'appended'
        """;

    /// <summary>KEYS upload. ARGV its life once closed, in milliseconds. One that has become a blob stays. 1 if there was something to close.</summary>
    public const string CloseUpload = Close + """
        if redis.call('PTTL', KEYS[1]) < 0 then return 0 end
        close(KEYS[1], ARGV[1])
        return 1
        """;

    /// <summary>KEYS blobs. ARGV name.</summary>
    public const string FindBlob = "return redis.call('HGET', KEYS[1], ARGV[1])";

    /// <summary>KEYS blobs. Names and blobs in turn.</summary>
    public const string ListBlobs = "return redis.call('HGETALL', KEYS[1])";

    /// <summary>KEYS upload. ARGV number of the piece.</summary>
    public const string ReadPiece = "return redis.call('HGET', KEYS[1], ARGV[1])";

    /// <summary>KEYS stream. ARGV first number, count.</summary>
    public const string ReadStream = """
        return redis.call('XRANGE', KEYS[1], ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])
        """;

    /// <summary>KEYS turns. ARGV bound, count.</summary>
    public const string ReadTurns = """
        return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])
        """;

    /// <summary>KEYS turns. ARGV bound, count.</summary>
    public const string ReadTurnsDescending = """
        return redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[1] == '0' and '+inf' or '(' .. ARGV[1], '-inf', 'LIMIT', 0, ARGV[2])
        """;

    /// <summary>KEYS turns, turn-ids. ARGV turn id.</summary>
    public const string FindTurn = """
        local turn = redis.call('HGET', KEYS[2], ARGV[1])
        return turn and redis.call('ZRANGEBYSCORE', KEYS[1], turn, turn)[1]
        """;

    /// <summary>KEYS tenant. ARGV id. 1 if it was not there.</summary>
    public const string Enlist = "return redis.call('ZADD', KEYS[1], 0, ARGV[1])";

    /// <summary>KEYS tenant. ARGV id. 1 if it was there.</summary>
    public const string Delist = "return redis.call('ZREM', KEYS[1], ARGV[1])";

    /// <summary>KEYS tenant. ARGV count, and if there is one: the id before the first.</summary>
    public const string ReadList = """
        return redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2] and '(' .. ARGV[2] or '-', '+', 'LIMIT', 0, ARGV[1])
        """;

    /// <summary>KEYS tenant. ARGV count, and if there is one: the id before the first.</summary>
    public const string ReadListDescending = """
        return redis.call('ZREVRANGEBYLEX', KEYS[1], ARGV[2] and '(' .. ARGV[2] or '+', '-', 'LIMIT', 0, ARGV[1])
        """;

    /// <summary>KEYS tenant.</summary>
    public const string Count = "return redis.call('ZCARD', KEYS[1])";

    /// <summary>KEYS live. ARGV member, seq. 1 if it was not there; the seq only rises.</summary>
    public const string MarkLive = """
        local seq = redis.call('ZSCORE', KEYS[1], ARGV[1])
        if seq and tonumber(seq) >= tonumber(ARGV[2]) then return 0 end
        return redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
        """;

    /// <summary>KEYS live. ARGV member, seq. Leaves an entry that belongs to a later turn. 1 if it was removed.</summary>
    public const string UnmarkLive = """
        local seq = redis.call('ZSCORE', KEYS[1], ARGV[1])
        return seq and tonumber(seq) <= tonumber(ARGV[2]) and redis.call('ZREM', KEYS[1], ARGV[1]) or 0
        """;

    /// <summary>KEYS live. Members and seqs in turn.</summary>
    public const string ReadLive = "return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')";
}
