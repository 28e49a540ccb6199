using LongCtx.Conversations.Storage;
using StackExchange.Redis;

namespace LongCtx.Storage.Redis;

// Reads in pages, so that no reply is so big that Redis keeps others waiting.
partial class RedisConversationStore
{
    const int EventPage = 256, TurnPage = 1000, SegmentPage = 32;

    public async ValueTask<IReadOnlyList<StoredEvent>> ReadAsync(ConversationKey key, long after, int max, CancellationToken cancellation = default)
    {
        // What was trimmed meanwhile is not there: the pages before it then are all that hangs together.
        var all = await ReadStreamAsync(keys.Log(key), $"read {key.Id}", after, max, EventPage, Values.Event, e => e.Seq, cancellation).ConfigureAwait(false);
        int whole = 1;
        while (whole < all.Count && all[whole].Seq == all[whole - 1].Seq + 1) whole++;
        return whole < all.Count ? all[..whole] : all;
    }

    public async ValueTask<IReadOnlyList<StoredSegment>> ReadSegmentsAsync(ConversationKey key, int after, int max, CancellationToken cancellation = default) =>
        await ReadStreamAsync(keys.Segments(key), $"read the segments of {key.Id}", after, max, SegmentPage, Values.Segment, s => s.Number, cancellation).ConfigureAwait(false);

    async ValueTask<List<T>> ReadStreamAsync<T>(
        RedisKey[] stream, string what, long after, int max, int page, Func<RedisResult, T> parse, Func<T, long> number, CancellationToken cancellation)
    {
        List<T> all = [];
        while (all.Count < max && after < long.MaxValue)
        {
            int count = Math.Min(page, max - all.Count);
            RedisValue[] range = [Values.Number(Math.Max(after, 0) + 1), count];
            var entries = (RedisResult[])(await redis.BulkAsync(what, Scripts.ReadStream, stream, range, cancellation).ConfigureAwait(false))!;
            all.AddRange(entries.Select(parse));
            if (entries.Length < count) break;
            after = number(all[^1]);
        }
        return all;
    }

    public async ValueTask<TurnInfo?> FindTurnAsync(ConversationKey key, string turnId, CancellationToken cancellation = default)
    {
        var reply = await redis.BulkAsync($"find a turn of {key.Id}", Scripts.FindTurn, keys.Turns(key), [Values.Text(turnId)], cancellation).ConfigureAwait(false);
        // An index may have been written over with another turn.
        return !reply.IsNull && Values.Turn((RedisValue)reply) is var turn && turn.TurnId == turnId ? turn : null;
    }

    public async ValueTask<IReadOnlyList<TurnInfo>> ReadTurnsAsync(ConversationKey key, int after, int max, bool descending = false, CancellationToken cancellation = default)
    {
        string script = descending ? Scripts.ReadTurnsDescending : Scripts.ReadTurns;
        List<TurnInfo> all = [];
        while (all.Count < max)
        {
            int count = Math.Min(TurnPage, max - all.Count);
            var turns = (RedisValue[])(await redis.BulkAsync($"read the turns of {key.Id}", script, keys.Turns(key)[..1], [after, count], cancellation).ConfigureAwait(false))!;
            all.AddRange(turns.Select(Values.Turn));
            if (turns.Length < count) break;
            after = all[^1].Turn;
        }
        return all;
    }
}
