using System.Globalization;
using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Stored;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Conversations.Local;

/// <summary>
/// What the owners of one process share: models, journal, saved states, readers. Whoever drives it (the local host, a grain) decides which conversations
/// this process owns.
/// </summary>
public sealed class ConversationRuntime
{
    /// <summary>Tries of one append, with growing pauses: about half a minute.</summary>
    internal const int AppendAttemptsMax = 12;

    /// <summary>Fewer new tokens than this are computed again sooner than they are saved.</summary>
    internal const int SaveTokensMin = 128;

    readonly ModelHost _models;

    /// <exception cref="LongCtxException">An option cannot be honoured.</exception>
    public ConversationRuntime(ModelHost models, ConversationOptions options)
    {
        options.Validate();
        (_models, Options) = (models, options);
        Files = new(Engine, options.KvDirectory, options.KvDirectoryBytesMax, Time, Warn);
        Stored = new(Store, Name, ModelOf, Time);
    }

    public ConversationOptions Options { get; }

    /// <summary>The journal, as it answers whoever asks.</summary>
    public StoredConversations Stored { get; }

    /// <summary>Names this process in the store.</summary>
    internal string Name { get; } = string.Create(CultureInfo.InvariantCulture, $"{Environment.MachineName}/{Environment.ProcessId}");

    internal IConversationStore Store => Options.Store;

    internal InferenceEngine Engine => _models.Engine;

    internal EventHub Hub { get; } = new();

    internal KvFiles Files { get; }

    internal TimeProvider Time => Options.Time;

    internal Action<string> Warn => Options.Warn;

    internal int ReplyTokensMax => _models.ReplyTokensMax;

    /// <summary>Takes a conversation over from whoever owned it, and goes on with a turn that was live.</summary>
    /// <exception cref="LongCtxException">There is none of that key, its model is not loaded, or the store does not answer.</exception>
    public async Task<ConversationOwner> ActivateAsync(ConversationKey key, CancellationToken cancellation)
    {
        if (!ConversationIds.IsConversation(key.Id)) throw Refusals.NotFound(key.Id);
        try
        {
            return await ConversationOwner.ActivateAsync(this, key, cancellation).ConfigureAwait(false);
        }
        catch (StoreException e)
        {
            throw Refusals.Unavailable(e);
        }
    }

    /// <summary>Events behind <paramref name="after"/>; when there are none yet, waits for one up to <paramref name="wait"/>, and then the page is empty.</summary>
    public async ValueTask<EventPage> ReadEventsAsync(ConversationKey key, long after, int max, TimeSpan wait, CancellationToken cancellation)
    {
        long start = Time.GetTimestamp();
        while (true)
        {
            using EventHub.Waiter waiter = Hub.Watch(key);
            EventPage page = Hub.TryRead(key, after, max) ?? await Stored.ReadEventsAsync(key, after, max, cancellation).ConfigureAwait(false);
            TimeSpan left = wait - Time.GetElapsedTime(start);
            if (page.Events.Count > 0 || page.Gap > 0 || page.IsRewound || left <= TimeSpan.Zero) return page;
            try
            {
                await waiter.Changed.WaitAsync(left, Time, cancellation).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                // Another process may have written: the last look tells.
            }
        }
    }

    /// <summary>A conversation was deleted: what was saved of it goes too.</summary>
    public void Forget(ConversationKey key) => Files.Delete(key);

    internal LocalDecoder DecoderOf(string model) => _models.FindDecoder(model);

    /// <summary>Unix milliseconds.</summary>
    internal long Now() => Time.GetUtcNow().ToUnixTimeMilliseconds();

    internal static TimeSpan RetryDelay(int attempt) => TimeSpan.FromMilliseconds(Math.Min(5000, 50 << attempt));

    ConversationModel ModelOf(string? name)
    {
        LocalDecoder decoder = _models.FindDecoder(name);
        return new(decoder.Name, decoder.Model.Config.VocabularySize);
    }
}

/// <summary>The owner ended before it could take the request: ask the next one.</summary>
public sealed class OwnerMovedException() : Exception("the conversation has another owner now");
