namespace LongCtx.Conversations;

/// <summary>
/// What owns conversations and models: one process (<c>LocalConversationHost</c>) or a cluster. The HTTP layer knows nothing else.
/// Conversations are durable: what was acknowledged is stored, and every stream can be resumed.
/// </summary>
public interface IConversationHost : ICompletionHost
{
    /// <summary>Creates a conversation, or finds the one that the same idempotency key created.</summary>
    ValueTask<ConversationInfo> CreateConversationAsync(string tenant, CreateConversation request, CancellationToken cancellation = default);

    /// <exception cref="LongCtxException"><see cref="ErrorCode.NotFound"/>, also for another tenant's, or <see cref="ErrorCode.Deleted"/>; so for all members that take an id.</exception>
    ValueTask<ConversationInfo> GetConversationAsync(string tenant, string id, CancellationToken cancellation = default);

    /// <summary>By id, which is by age: ascending or descending from <paramref name="after"/>.</summary>
    ValueTask<Page<ConversationInfo>> ListConversationsAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation = default);

    ValueTask<ConversationInfo> SetMetadataAsync(string tenant, string id, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default);

    /// <summary>How much of its limits a tenant uses.</summary>
    ValueTask<TenantUsage> GetUsageAsync(string tenant, CancellationToken cancellation = default);

    /// <summary>Deletes for good; a live turn ends. Deleting twice is <see cref="ErrorCode.Deleted"/>.</summary>
    ValueTask DeleteConversationAsync(string tenant, string id, CancellationToken cancellation = default);

    /// <summary>Accepts a turn; when this returns, the turn is stored and will be answered.</summary>
    ValueTask<TurnTicket> SubmitTurnAsync(string tenant, string id, SubmitTurn request, CancellationToken cancellation = default);

    /// <summary>Adds messages without asking for a reply; when this returns, they are stored. They are computed in the background.</summary>
    ValueTask<InputAck> AppendInputAsync(string tenant, string id, AppendInput request, CancellationToken cancellation = default);

    /// <summary>Stops a live turn within one decode step. Returns the turn as it ended; for one that had ended, its outcome.</summary>
    ValueTask<TurnInfo> CancelTurnAsync(string tenant, string id, int turn, CancellationToken cancellation = default);

    /// <summary>
    /// Events behind <paramref name="after"/>, at most <paramref name="max"/>. When there are none yet, waits for one up to
    /// <paramref name="wait"/>; then the page is empty.
    /// </summary>
    ValueTask<EventPage> ReadEventsAsync(string tenant, string id, long after, int max, TimeSpan wait, CancellationToken cancellation = default);

    /// <summary>Turns with an index above <paramref name="after"/> ascending, or below it descending (0 then means from the newest).</summary>
    ValueTask<IReadOnlyList<TurnInfo>> ListTurnsAsync(string tenant, string id, int after, int max, bool descending, CancellationToken cancellation = default);

    /// <summary>The turn or append with this client-chosen id; null when there is none.</summary>
    ValueTask<TurnInfo?> FindTurnAsync(string tenant, string id, string turnId, CancellationToken cancellation = default);

    /// <summary>
    /// A new conversation with the events up to <paramref name="seq"/> of this one (null: all). A turn that is in progress there is cancelled in the fork.
    /// The same <paramref name="idempotencyKey"/> for the same point gives the same fork.
    /// </summary>
    ValueTask<ConversationInfo> ForkAsync(string tenant, string id, long? seq, string? idempotencyKey = null, CancellationToken cancellation = default);

    /// <summary>The temporary adapter as the journal has it.</summary>
    ValueTask<AdapterInfo> GetAdapterAsync(string tenant, string id, CancellationToken cancellation = default);

    /// <summary>The conversation learns from its own text from here on. Waits for a live turn to end.</summary>
    /// <exception cref="LongCtxException">A setting is out of its range or cannot be honoured here, or needs a reset first.</exception>
    ValueTask<AdapterInfo> ConfigureAdapterAsync(string tenant, string id, AdapterSettings settings, CancellationToken cancellation = default);

    /// <summary>
    /// Back to the base model: whatever was computed under the adapter is given up, and what was learned is erased. Waits for a live turn to end.
    /// </summary>
    /// <param name="tenant">Whose conversation.</param>
    /// <param name="id">Which.</param>
    /// <param name="disable">And learn nothing more; otherwise it learns from what comes.</param>
    /// <param name="cancellation">Stops waiting.</param>
    ValueTask<AdapterInfo> ResetAdapterAsync(string tenant, string id, bool disable, CancellationToken cancellation = default);

    /// <summary>The version in use as the files of a PEFT directory.</summary>
    /// <exception cref="LongCtxException"><see cref="ErrorCode.NotFound"/>: nothing was learned yet.</exception>
    ValueTask<AdapterExport> ExportAdapterAsync(string tenant, string id, CancellationToken cancellation = default);

    /// <summary>Everything that is needed to import it elsewhere, as lines of JSON: one header, then one line for each event.</summary>
    IAsyncEnumerable<string> ExportAsync(string tenant, string id, CancellationToken cancellation = default);

    /// <summary>A new conversation from the lines of an export. Nothing is kept of an import that fails.</summary>
    ValueTask<ConversationInfo> ImportAsync(string tenant, IAsyncEnumerable<string> lines, CancellationToken cancellation = default);
}
