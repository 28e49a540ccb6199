using LongCtx.Conversations.Local;
using LongCtx.Conversations.Storage;
using Orleans.Streams;

namespace LongCtx.Silo.Streams;

/// <summary>Follows a conversation's committed events and hands them to its stream. While one batch is under way the next gathers.</summary>
internal static class TokenPublisher
{
    const int EventsMax = 64;
    static readonly TimeSpan s_wait = TimeSpan.FromSeconds(30);

    /// <param name="after">Events up to this one are not sent.</param>
    /// <param name="leaving">Ends it.</param>
    public static async Task RunAsync(ConversationRuntime runtime, ConversationKey key, IAsyncStream<byte[]> stream, long after, CancellationToken leaving)
    {
        while (!leaving.IsCancellationRequested)
        {
            EventPage page = await runtime.ReadEventsAsync(key, after, EventsMax, s_wait, leaving);
            if (page.IsRewound || page.Gap > 0) after = page.IsRewound ? page.Head : page.Gap - 1;
            if (page.Events.Count == 0) continue;
            await stream.OnNextAsync(Payloads.Write(TokenBatch.Of(key.Id, page.Events)));
            after = page.Events[^1].Seq;
        }
    }
}
