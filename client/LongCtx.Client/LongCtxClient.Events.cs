using LongCtx.Client.Events;

namespace LongCtx.Client;

public sealed partial class LongCtxClient
{
    /// <summary>
    /// The conversation's events behind <paramref name="after"/>, without end, as they are stored. A lost connection is made again and goes on behind the last
    /// event: none is missed, none comes twice. <see cref="Gap"/> says that the server no longer has some of them; <see cref="Rewound"/> that
    /// what was seen behind its head does not exist any more. To go on later, pass the newest event's <see cref="ConversationEvent.Seq"/>.
    /// </summary>
    /// <exception cref="LongCtxException">The conversation does not exist, or was deleted.</exception>
    public IAsyncEnumerable<ConversationEvent> SubscribeAsync(string conversation, long after = 0, CancellationToken cancellation = default) =>
        Read(new EventSubscription(transport, new Dictionary<string, long>(StringComparer.Ordinal) { [conversation] = after }, isSingle: true), cancellation);

    /// <summary>
    /// The same from the first event of the newest <paramref name="turns"/> turns and appends on, 1 to 1000 of them: the end of a conversation of any length. Where
    /// there are fewer, from the beginning.
    /// </summary>
    /// <exception cref="LongCtxException">The conversation does not exist, or was deleted.</exception>
    public IAsyncEnumerable<ConversationEvent> SubscribeToNewestAsync(string conversation, int turns, CancellationToken cancellation = default) =>
        Read(EventSubscription.ToNewest(transport, conversation, turns), cancellation);

    /// <summary>
    /// The same for up to 100 conversations over one connection; <see cref="ConversationEvent.Conversation"/> says which one an event is of.
    /// One that is deleted is told by <see cref="Unsubscribed"/>, and the others go on.
    /// </summary>
    /// <param name="conversations">For each the sequence number behind which to begin.</param>
    /// <param name="cancellation">Ends the subscription.</param>
    public IAsyncEnumerable<ConversationEvent> SubscribeAsync(IReadOnlyDictionary<string, long> conversations, CancellationToken cancellation = default) =>
        Read(new EventSubscription(transport, conversations, isSingle: false), cancellation);

    static async IAsyncEnumerable<ConversationEvent> Read(
        EventSubscription subscription, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
    {
        await foreach (ConversationEvent e in subscription.ReadAllAsync(cancellation).ConfigureAwait(false)) yield return e;
    }
}
