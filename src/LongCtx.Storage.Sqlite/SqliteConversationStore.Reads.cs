using LongCtx.Conversations.Storage;
using Microsoft.Data.Sqlite;

namespace LongCtx.Storage.Sqlite;

// Each read is one statement and so sees one moment.
partial class SqliteConversationStore
{
    public ValueTask<StoredConversation?> FindAsync(ConversationKey key, CancellationToken cancellation = default) =>
        FirstAsync(Sql.Find, Rows.Conversation, cancellation, key.Tenant, key.Id);

    public ValueTask<IReadOnlyList<StoredEvent>> ReadAsync(ConversationKey key, long after, int max, CancellationToken cancellation = default) =>
        AllAsync(Sql.ReadEvents, Rows.Event, cancellation, key.Tenant, key.Id, after, max);

    public ValueTask<TurnInfo?> FindTurnAsync(ConversationKey key, string turnId, CancellationToken cancellation = default) =>
        FirstAsync(Sql.FindTurn, Rows.Turn, cancellation, key.Tenant, key.Id, turnId);

    public ValueTask<IReadOnlyList<TurnInfo>> ReadTurnsAsync(ConversationKey key, int after, int max, bool descending = false, CancellationToken cancellation = default) =>
        AllAsync(descending ? Sql.ReadTurnsDown : Sql.ReadTurnsUp, Rows.Turn, cancellation,
            key.Tenant, key.Id, descending && after == 0 ? long.MaxValue : after, max);

    public ValueTask<IReadOnlyList<StoredSegment>> ReadSegmentsAsync(ConversationKey key, int after, int max, CancellationToken cancellation = default) =>
        AllAsync(Sql.ReadSegments, Rows.Segment, cancellation, key.Tenant, key.Id, after, max);

    public ValueTask<IReadOnlyList<StoredConversation>> ListAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation = default) =>
        after is null
            ? AllAsync(descending ? Sql.ListFromLast : Sql.ListFromFirst, Rows.Conversation, cancellation, tenant, max)
            : AllAsync(descending ? Sql.ListBelow : Sql.ListAbove, Rows.Conversation, cancellation, tenant, max, after);

    public ValueTask<long> CountAsync(string tenant, CancellationToken cancellation = default) =>
        FirstAsync(Sql.Count, row => row.GetInt64(0), cancellation, tenant);

    public ValueTask<IReadOnlyList<ConversationKey>> ListLiveAsync(CancellationToken cancellation = default) => AllAsync(Sql.ListLive, Rows.Key, cancellation);

    ValueTask<T?> FirstAsync<T>(string sql, Func<SqliteDataReader, T> read, CancellationToken cancellation, params object[] values) =>
        readers.ReadAsync(connection => connection.First(sql, read, values), cancellation);

    ValueTask<IReadOnlyList<T>> AllAsync<T>(string sql, Func<SqliteDataReader, T> read, CancellationToken cancellation, params object[] values) =>
        readers.ReadAsync<IReadOnlyList<T>>(connection => connection.All(sql, read, values), cancellation);
}
