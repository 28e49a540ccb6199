using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Cache;

namespace LongCtx.Conversations.Local;

/// <summary>
/// Forgets a conversation's oldest events once there are more than it is to retain. What its window still shows is kept in any case, and what
/// has left it is in segments, so a trimmed conversation goes on as before.
/// </summary>
/// <param name="retain">Events to keep; 0 keeps all.</param>
/// <param name="firstSeq">As acquired; nobody else trims under this epoch.</param>
internal sealed class Retention(IConversationStore store, ConversationKey key, long epoch, long retain, long firstSeq)
{
    long _firstSeq = firstSeq;

    /// <summary>Of the oldest event that is there.</summary>
    public long FirstSeq => Volatile.Read(ref _firstSeq);

    /// <summary>Whether enough has come together since the last time: trimming reads the journal.</summary>
    public bool IsDue(ConversationState state) =>
        retain > 0 && state.Live is null && state.Segments > 0 && state.Seq + 1 - FirstSeq > retain + Math.Max(1, retain / 8);

    /// <param name="state">As acknowledged; no turn is live.</param>
    /// <param name="cancellation">The owner leaves.</param>
    public async Task TrimAsync(ConversationState state, CancellationToken cancellation)
    {
        if (!IsDue(state)) return;
        AttentionPolicy policy = PolicyOptions.ParseRule(state.Policy!);
        long window = await LogPart.FirstEventAsync(store, key, policy.Sinks + policy.Evicted(state.Tokens), state.Seq, cancellation).ConfigureAwait(false);
        long upTo = Math.Min(state.Seq - retain, window);
        if (upTo < FirstSeq) return;
        Volatile.Write(ref _firstSeq, upTo + 1); // before it is true: whoever reads meanwhile must not count on these events
        await store.TrimAsync(key, epoch, upTo, cancellation).ConfigureAwait(false);
    }
}
