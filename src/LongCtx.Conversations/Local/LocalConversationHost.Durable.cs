namespace LongCtx.Conversations.Local;

public sealed partial class LocalConversationHost
{
    public ValueTask<ConversationInfo> CreateConversationAsync(string tenant, CreateConversation request, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<ConversationInfo> GetConversationAsync(string tenant, string id, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<Page<ConversationInfo>> ListConversationsAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<ConversationInfo> SetMetadataAsync(string tenant, string id, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<TenantUsage> GetUsageAsync(string tenant, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<TurnInfo?> FindTurnAsync(string tenant, string id, string turnId, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask DeleteConversationAsync(string tenant, string id, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<TurnTicket> SubmitTurnAsync(string tenant, string id, SubmitTurn request, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<InputAck> AppendInputAsync(string tenant, string id, AppendInput request, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<TurnInfo> CancelTurnAsync(string tenant, string id, int turn, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<EventPage> ReadEventsAsync(string tenant, string id, long after, int max, TimeSpan wait, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<IReadOnlyList<TurnInfo>> ListTurnsAsync(string tenant, string id, int after, int max, bool descending, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<ConversationInfo> ForkAsync(string tenant, string id, long? seq, string? idempotencyKey = null, CancellationToken cancellation = default) => throw new NotSupportedException();

    public IAsyncEnumerable<string> ExportAsync(string tenant, string id, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<ConversationInfo> ImportAsync(string tenant, IAsyncEnumerable<string> lines, CancellationToken cancellation = default) => throw new NotSupportedException();
}
