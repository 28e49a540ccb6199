using System.Collections.Concurrent;
using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Local;

/// <summary>
/// Wakes readers when something was stored, and keeps the newest events of busy conversations, so that followers do not read the store.
/// </summary>
internal sealed class EventHub
{
    /// <summary>Events kept for each conversation that somebody writes or follows.</summary>
    const int RecentMax = 256;

    readonly ConcurrentDictionary<ConversationKey, Feed> _feeds = new();

    sealed class Feed
    {
        public readonly Lock Gate = new();
        public readonly Queue<ConversationEvent> Recent = new();
        public TaskCompletionSource Pulse = New();
        public long Head;
        public int Users; // an owner, or readers that wait
        public bool IsGone;

        public static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>An owner begins, at this head.</summary>
    public void Open(ConversationKey key, long head)
    {
        Feed feed = Enter(key);
        lock (feed.Gate)
        {
            if (feed.Head > head) feed.Recent.Clear(); // the store lost its end
            feed.Head = head;
            Wake(feed);
        }
    }

    public void Publish(ConversationKey key, IReadOnlyList<ConversationEvent> events)
    {
        if (events.Count == 0 || !_feeds.TryGetValue(key, out Feed? feed)) return;
        lock (feed.Gate)
        {
            foreach (ConversationEvent e in events)
            {
                if (feed.Recent.Count > 0 && e.Seq != feed.Head + 1) feed.Recent.Clear();
                feed.Recent.Enqueue(e);
                if (feed.Recent.Count > RecentMax) feed.Recent.Dequeue();
                feed.Head = e.Seq;
            }

            Wake(feed);
        }
    }

    /// <summary>The owner ends. Readers that wait look at the store again.</summary>
    public void Close(ConversationKey key)
    {
        if (!_feeds.TryGetValue(key, out Feed? feed)) return;
        lock (feed.Gate) Wake(feed);
        Exit(key, feed);
    }

    /// <summary>The head that the owner in this process last stored; 0 when there is none.</summary>
    public long HeadOf(ConversationKey key)
    {
        if (!_feeds.TryGetValue(key, out Feed? feed)) return 0;
        lock (feed.Gate) return feed.Head;
    }

    /// <summary>Events behind <paramref name="after"/> from memory; null when they have to be read from the store.</summary>
    public EventPage? TryRead(ConversationKey key, long after, int max)
    {
        if (!_feeds.TryGetValue(key, out Feed? feed)) return null;
        lock (feed.Gate)
        {
            if (feed.Head == 0 || after > feed.Head) return null;
            if (after == feed.Head) return new([], feed.Head);
            if (feed.Recent.Count == 0 || feed.Recent.Peek().Seq > after + 1) return null;
            return new([.. feed.Recent.SkipWhile(e => e.Seq <= after).Take(max)], feed.Head);
        }
    }

    /// <summary>A wait that began before its first look: whatever is stored after the call ends it.</summary>
    public Waiter Watch(ConversationKey key)
    {
        Feed feed = Enter(key);
        lock (feed.Gate) return new(feed.Pulse.Task, () => Exit(key, feed));
    }

    public sealed class Waiter(Task changed, Action exit) : IDisposable
    {
        public Task Changed { get; } = changed;

        public void Dispose() => exit();
    }

    Feed Enter(ConversationKey key)
    {
        while (true)
        {
            Feed feed = _feeds.GetOrAdd(key, _ => new());
            lock (feed.Gate)
            {
                if (feed.IsGone) continue; // somebody is taking it out right now
                feed.Users++;
                return feed;
            }
        }
    }

    void Exit(ConversationKey key, Feed feed)
    {
        lock (feed.Gate)
        {
            if (--feed.Users > 0) return;
            feed.IsGone = true;
            _feeds.TryRemove(new(key, feed));
        }
    }

    static void Wake(Feed feed)
    {
        feed.Pulse.TrySetResult();
        feed.Pulse = Feed.New();
    }
}
