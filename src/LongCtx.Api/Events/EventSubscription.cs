using System.Threading.Channels;

namespace LongCtx.Api.Events;

/// <summary>News of a conversation, or the reason why there are no more of it.</summary>
internal sealed record Notice(string Conversation, EventPage? Page, Exception? Failure);

/// <summary>
/// Reads several journals at once into one sequence. A reader that is slow holds the readings up; nothing is dropped and nothing piles up.
/// </summary>
internal sealed class EventSubscription : IAsyncDisposable
{
    const int WaitingMax = 16;

    readonly Channel<Notice> notices = Channel.CreateBounded<Notice>(new BoundedChannelOptions(WaitingMax) { SingleReader = true });
    readonly CancellationTokenSource stop;
    readonly Task readings;

    /// <param name="host">Has the journals.</param>
    /// <param name="tenant">Whose they are.</param>
    /// <param name="cursors">For each conversation the sequence number behind which to begin.</param>
    /// <param name="end">The last event to read of each; <see cref="long.MaxValue"/> is none.</param>
    /// <param name="cancellation">Ends all.</param>
    public EventSubscription(IConversationHost host, string tenant, IReadOnlyDictionary<string, long> cursors, long end, CancellationToken cancellation)
    {
        stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        readings = ReadAllAsync(cursors.Select(c => ReadAsync(host, tenant, c.Key, c.Value, end)));
    }

    /// <summary>Ends when no conversation has news any more.</summary>
    public IAsyncEnumerable<Notice> ReadAllAsync() => notices.Reader.ReadAllAsync(stop.Token);

    public async ValueTask DisposeAsync()
    {
        await stop.CancelAsync();
        await readings.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        stop.Dispose();
    }

    async Task ReadAllAsync(IEnumerable<Task> all)
    {
        try
        {
            await Task.WhenAll(all);
            notices.Writer.Complete();
        }
        catch (Exception e)
        {
            notices.Writer.Complete(e);
        }
    }

    async Task ReadAsync(IConversationHost host, string tenant, string conversation, long after, long end)
    {
        try
        {
            await foreach (EventPage page in host.FollowAsync(tenant, conversation, after, end, stop.Token))
                await notices.Writer.WriteAsync(new(conversation, page, null), stop.Token);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            await notices.Writer.WriteAsync(new(conversation, null, e), stop.Token);
        }
    }
}
