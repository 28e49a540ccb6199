using LongCtx.Conversations.Storage;
using StackExchange.Redis;

namespace LongCtx.Storage.Redis;

/// <summary>
/// Conversations in Redis 5 or newer, also of several processes at once. Each call is one script on the keys of one conversation; listings lie
/// elsewhere and are kept beside it (see RedisConversationStore.Listings.cs).
/// </summary>
public sealed partial class RedisConversationStore : IConversationStore
{
    readonly RedisConnection redis;
    readonly RedisKeys keys;
    readonly RedisStoreOptions options;

    RedisConversationStore(RedisConnection redis, RedisStoreOptions options, StoreDescription description)
    {
        this.redis = redis;
        this.options = options;
        keys = new(options.Prefix);
        repair = new(redis, keys, options.Clock);
        Description = description;
        repairs = Task.Run(RepairRegularlyAsync);
    }

    public StoreDescription Description { get; }

    /// <summary>Connects, compares the server's settings with the durability that is asked for, and begins to repair listings in the background.</summary>
    /// <exception cref="StoreException">An option is out of its range; Redis cannot be reached, is no primary, is too old, or is too weak for <see cref="Durability.Strict"/>.</exception>
    public static async Task<RedisConversationStore> OpenAsync(RedisStoreOptions options, CancellationToken cancellation = default)
    {
        options.Validate();
        var configuration = ConnectionString.Parse(options.Configuration);
        var description = await ServerCheck.RunAsync(configuration, options.Durability, cancellation).ConfigureAwait(false);
        var pipeline = options.Pipeline ?? RedisResilience.Build(options);
        return new(await RedisConnection.OpenAsync(description.Name, configuration, pipeline).ConfigureAwait(false), options, description);
    }

    public async ValueTask<bool> CreateAsync(ConversationKey key, ConversationSeed seed, CancellationToken cancellation = default)
    {
        List<RedisValue> values =
        [
            NewId(), "epoch", 0, "seq", 0, "first", 1, "state", "", "live", 0,
            "model", Values.Text(seed.Model), "created", Values.Number(seed.Created), "metadata", Values.Metadata(seed.Metadata),
        ];
        if (seed.ForkedFrom is { } origin) values.AddRange(["forkedFrom", Values.Text(origin)]);
        var head = keys.Head(key);
        await EnlistAsync(key, cancellation).ConfigureAwait(false);
        string outcome = (string)(await redis.JournalAsync($"create {key.Id}", Scripts.Create, head, [.. values], cancellation).ConfigureAwait(false))!;
        if (outcome == "deleted") await DelistAsync(key).ConfigureAwait(false);
        return outcome == "created";
    }

    public async ValueTask<StoredConversation?> FindAsync(ConversationKey key, CancellationToken cancellation = default) =>
        (await FindHeadAsync(key, cancellation).ConfigureAwait(false))?.Conversation;

    async ValueTask<Head?> FindHeadAsync(ConversationKey key, CancellationToken cancellation) =>
        Values.Head(key, await redis.BulkAsync($"find {key.Id}", Scripts.Find, keys.Head(key), [], cancellation).ConfigureAwait(false));

    public async ValueTask<StoredConversation?> AcquireAsync(ConversationKey key, string owner, CancellationToken cancellation = default)
    {
        RedisValue call = NewId(), name = Values.Text(owner);
        marked.TryRemove(key, out _); // another owner may have unmarked it since
        while (true)
        {
            var found = await FindAsync(key, cancellation).ConfigureAwait(false);
            if (found is not { Deleted: null }) return found;
            var reply = await redis.JournalAsync($"acquire {key.Id}", Scripts.Acquire, keys.Head(key), [call, Values.Number(found.Epoch), name], cancellation).ConfigureAwait(false);
            if (!IsText(reply, "moved")) return Values.Head(key, reply)?.Conversation;
        }
    }

    public async ValueTask<AppendResult> AppendAsync(ConversationKey key, AppendBatch batch, CancellationToken cancellation = default)
    {
        CheckNumbers(batch);
        var all = keys.All(key);
        RedisValue[] values = [.. AppendValues(batch)];
        long seq = batch.ExpectedSeq + batch.Events.Count;
        if (batch.IsLive) await MarkLiveAsync(key, seq, cancellation).ConfigureAwait(false);
        var reply = (RedisValue[])(await redis.JournalAsync($"append to {key.Id}", Scripts.Append, all, values, cancellation).ConfigureAwait(false))!;
        var result = new AppendResult(Status(reply[0]!), Values.Number(reply[1]));
        if (result.Status == AppendStatus.Gone) await UnmarkLiveAsync(key, long.MaxValue).ConfigureAwait(false);
        else if (result.Status != AppendStatus.Appended) marked.TryRemove(key, out _);
        else if (!batch.IsLive) await UnmarkLiveAsync(key, result.Seq).ConfigureAwait(false);
        return result;
    }

    static IEnumerable<RedisValue> AppendValues(AppendBatch batch) =>
    [
        Values.Number(batch.Epoch), Values.Number(batch.ExpectedSeq), batch.BatchId.ToString("N"), Values.Number(batch.ExpectedSeq + batch.Events.Count),
        Values.Text(batch.State), batch.IsLive ? 1 : 0, batch.Events.Count, batch.Turns.Count,
        .. batch.Events.SelectMany(e => new[] { Values.Number(e.Seq), Values.Text(e.Kind), Values.Tokens(e.Tokens), Values.Text(e.Body) }),
        .. batch.Turns.SelectMany(t => new[] { t.Turn, Values.Text(t.TurnId), Values.Turn(t) }),
        .. batch.Segments.SelectMany(s => new[] { s.Number, Values.Number(s.First), Values.Tokens(s.Tokens), Values.Text(s.Hash) }),
    ];

    static void CheckNumbers(AppendBatch batch)
    {
        if (batch.Events.Count == 0) throw new ArgumentException("A batch has at least one event.", nameof(batch));
        for (int i = 0; i < batch.Events.Count; i++)
        {
            if (batch.Events[i].Seq != batch.ExpectedSeq + 1 + i)
                throw new ArgumentException($"Event {i} of the batch has sequence number {batch.Events[i].Seq}; it must be {batch.ExpectedSeq + 1 + i}.", nameof(batch));
        }
        for (int i = 0, last = 0; i < batch.Segments.Count; last = batch.Segments[i++].Number)
        {
            if (batch.Segments[i].Number <= last) throw new ArgumentException($"Segment {batch.Segments[i].Number} of the batch must be above {last}.", nameof(batch));
        }
    }

    public async ValueTask<bool> SetMetadataAsync(ConversationKey key, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default)
    {
        var value = Values.Metadata(metadata);
        string what = $"change the metadata of {key.Id}";
        var ticket = await redis.JournalAsync(what, Scripts.MetadataTicket, keys.Head(key), [], cancellation).ConfigureAwait(false);
        return !ticket.IsNull && (int)await redis.JournalAsync(what, Scripts.SetMetadata, keys.Head(key), [(RedisValue)ticket, value], cancellation).ConfigureAwait(false) == 1;
    }

    public async ValueTask<AppendStatus> TrimAsync(ConversationKey key, long epoch, long upTo, CancellationToken cancellation = default)
    {
        RedisKey[] touched = [.. keys.Log(key), .. keys.Head(key)];
        return Status((string)(await redis.JournalAsync($"trim {key.Id}", Scripts.Trim, touched, [Values.Number(epoch), Values.Number(upTo)], cancellation).ConfigureAwait(false))!);
    }

    public async ValueTask<bool> DeleteAsync(ConversationKey key, CancellationToken cancellation = default)
    {
        RedisValue[] values = [NewId(), Values.Number((long)options.TombstoneLife.TotalMilliseconds)];
        Blob[] blobs = [];
        string outcome;
        while (true)
        {
            RedisKey[] touched = [.. keys.All(key), .. blobs.SelectMany(b => keys.Upload(key, b.Upload))];
            outcome = (string)(await redis.JournalAsync($"delete {key.Id}", Scripts.Delete, touched, [.. values, .. blobs.Select(b => b.Value)], cancellation).ConfigureAwait(false))!;
            if (outcome != "moved") break;
            blobs = [.. (await AllBlobsAsync(key, cancellation).ConfigureAwait(false)).Select(b => b.Blob)];
        }
        if (outcome == "none") return false;
        await DelistAsync(key).ConfigureAwait(false);
        await UnmarkLiveAsync(key, long.MaxValue).ConfigureAwait(false);
        return outcome == "deleted";
    }

    public async ValueTask DisposeAsync()
    {
        await stop.CancelAsync().ConfigureAwait(false);
        await repairs.ConfigureAwait(false);
        repair.Dispose();
        await redis.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Names one call, so that its repetition after a lost reply is known.</summary>
    static RedisValue NewId() => Guid.NewGuid().ToString("N");

    static bool IsText(RedisResult reply, string text) => !reply.IsNull && reply.ToString() == text;

    static AppendStatus Status(string? outcome) => outcome switch
    {
        "appended" => AppendStatus.Appended,
        "fenced" => AppendStatus.Fenced,
        "conflict" => AppendStatus.Conflict,
        _ => AppendStatus.Gone,
    };
}
