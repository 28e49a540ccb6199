using LongCtx.Conversations.Storage;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Conversations.Local;

/// <summary>What the owners of one host share.</summary>
internal sealed record OwnerServices(
    string Name, IConversationStore Store, InferenceEngine Engine, EventHub Hub, KvFiles Files, Func<string, LocalDecoder> DecoderOf, TimeProvider Time, Action<string> Warn)
{
    /// <summary>Tries of one append, with growing pauses: about half a minute.</summary>
    public const int AppendAttemptsMax = 12;

    /// <summary>Fewer new tokens than this are computed again sooner than they are saved.</summary>
    public const int SaveTokensMin = 128;

    /// <summary>Between two tries to go on with a turn whose store failed.</summary>
    public static readonly TimeSpan OrphanRetry = TimeSpan.FromSeconds(2);

    /// <summary>Without requests and readers' turns, an owner ends after this time.</summary>
    public required TimeSpan IdleTime { get; init; }

    /// <summary>Between two saved states of one conversation.</summary>
    public required TimeSpan SaveInterval { get; init; }

    /// <summary>Longer logs without a saved state are refilled instead of computed from their beginning.</summary>
    public required long ReplayTokensMax { get; init; }

    /// <summary>Events of a conversation that are kept at least; 0 keeps all.</summary>
    public required long RetainEvents { get; init; }

    /// <summary>Unix milliseconds.</summary>
    public long Now() => Time.GetUtcNow().ToUnixTimeMilliseconds();

    public TimeSpan RetryDelay(int attempt) => TimeSpan.FromMilliseconds(Math.Min(5000, 50 << attempt));
}

/// <summary>The owner ended before it could take the request: ask the next one.</summary>
internal sealed class OwnerMovedException : Exception;

internal static class Refusals
{
    public static LongCtxException NotFound(string id) => new(ErrorCode.NotFound, $"there is no conversation {id}");

    public static LongCtxException Deleted(string id) => new(ErrorCode.Deleted, $"conversation {id} was deleted");

    public static LongCtxException Unavailable(StoreException e) => new(ErrorCode.StoreUnavailable, e.Message, inner: e);
}
