namespace LongCtx.Conversations.Tests;

/// <summary>Talks to a host as the tests do.</summary>
/// <param name="tenant">Of the tests; <see cref="OtherTenant"/> is another.</param>
/// <param name="stopTokens">Of the model that the host serves.</param>
public class HostDriver(IConversationHost host, string tenant, IReadOnlyCollection<int> stopTokens) : IAsyncDisposable
{
    public IConversationHost Host { get; } = host;

    public string Tenant { get; } = tenant;

    public string OtherTenant => Tenant + " other";

    /// <summary>Sampled, so that a repeated draw would show, and without an end of its own.</summary>
    public TurnOptions Options(int maxTokens, ulong seed = 7) => new()
    {
        MaxTokens = maxTokens,
        Sampling = new() { Seed = seed, RepetitionPenalty = 1.1f, LogitBias = stopTokens.ToDictionary(id => id, _ => -100f) },
    };

    public async Task<string> CreateAsync(string? model = null) => (await Host.CreateConversationAsync(Tenant, new(model))).Id;

    public ValueTask<TurnTicket> SubmitAsync(string id, string turn, string text, TurnOptions options, bool waits = false) =>
        Host.SubmitTurnAsync(Tenant, id, new(turn, [new("user", text)]) { Options = options, Wait = waits });

    /// <summary>Submits and waits for the end.</summary>
    public async Task<Turn> SayAsync(string id, string turn, string text, int maxTokens = 24)
    {
        TurnTicket ticket = await SubmitAsync(id, turn, text, Options(maxTokens));
        return await FollowAsync(id, ticket.AcceptedSeq - 1);
    }

    /// <summary>Reads from behind an event to the end of the next turn that ends.</summary>
    public async Task<Turn> FollowAsync(string id, long after)
    {
        var events = new List<ConversationEvent>();
        while (true)
        {
            EventPage page = await Host.ReadEventsAsync(Tenant, id, after, 50, TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
            Assert.False(page.IsRewound || page.Gap > 0);
            Assert.NotEmpty(page.Events);
            foreach (ConversationEvent e in page.Events)
            {
                Assert.Equal(after + 1, e.Seq);
                after = e.Seq;
                events.Add(e);
                if (e is Completed or Cancelled or Failed) return new(events);
            }
        }
    }

    public async Task<List<ConversationEvent>> EventsAsync(string id)
    {
        var events = new List<ConversationEvent>();
        while (await Host.ReadEventsAsync(Tenant, id, events.Count, 100, TimeSpan.Zero) is { Events.Count: > 0 } page) events.AddRange(page.Events);
        return events;
    }

    /// <summary>Learns chunks of 64 tokens from the first one on, in a moment.</summary>
    public static AdapterSettings QuickAdapter { get; } = new() { Rank = 4, Alpha = 4, Chunk = 64, Prefix = 64, StartAfter = 0, Guard = false, LearningRate = 5e-3, WarmUp = 1 };

    /// <summary>Waits until the rest of the text is too short for another chunk.</summary>
    public async Task<AdapterInfo> LearnedAsync(string id)
    {
        long seq = 0;
        while (true)
        {
            ConversationInfo conversation = await Host.GetConversationAsync(Tenant, id);
            AdapterInfo adapter = await Host.GetAdapterAsync(Tenant, id);
            if (conversation.Tokens - adapter.TrainedTo < adapter.Settings!.Chunk) return adapter;
            EventPage page = await Host.ReadEventsAsync(Tenant, id, seq, 1000, TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
            seq = Math.Max(seq, page.Head);
        }
    }

    /// <summary>Talks until two chunks are learned, and learns no more: both versions stay in use, so that everything can be computed again.</summary>
    public async Task<AdapterInfo> LearnTwiceAsync(string id)
    {
        await Host.ConfigureAdapterAsync(Tenant, id, QuickAdapter);
        for (int turn = 1; (await Host.GetConversationAsync(Tenant, id)).Tokens < 2 * QuickAdapter.Chunk; turn++) await SayAsync(id, $"{turn}", "Go on with the story.", 20);
        Assert.Equal(2, (await LearnedAsync(id)).Version);
        return await Host.ConfigureAdapterAsync(Tenant, id, QuickAdapter with { StartAfter = 1_000_000 });
    }

    /// <summary>What was learned so far, after a look whether that is without a gap: every chunk once and in order, versions one by one.</summary>
    public async Task<AdapterUpdated[]> UpdatesAsync(string id)
    {
        long trainedTo = 0, first = 0;
        int version = 0;
        var learned = new List<AdapterUpdated>();
        foreach (ConversationEvent e in await EventsAsync(id))
        {
            if (e is AdapterConfigured configured) trainedTo = Math.Max(trainedTo, configured.From);
            if (e is AdapterUpdated { Update: null } reset) trainedTo = Math.Max(trainedTo, reset.FirstToken);
            if (e is AdapterUpdated { Update: { } update } updated)
            {
                Assert.Equal((++version, version, trainedTo, trainedTo + QuickAdapter.Chunk), (updated.Version, update.Version, update.From, update.To));
                Assert.True(updated.FirstToken >= update.To, "a version is used behind what it has learned");
                Assert.True(updated.FirstToken >= first, "a version begins before the one before it");
                first = updated.FirstToken;
                trainedTo = update.To;
                learned.Add(updated);
            }
        }

        return [.. learned];
    }

    public virtual ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }
}

/// <summary>The events of one turn.</summary>
public sealed record Turn(IReadOnlyList<ConversationEvent> Events)
{
    public ConversationEvent End => Events[^1];

    public string Text => TextOf(Events);

    public TurnUsage Usage => End is Completed c ? c.Usage : ((Cancelled)End).Usage;

    public static string TextOf(IEnumerable<ConversationEvent> events) =>
        string.Concat(events.Select(e => e switch { Delta d => d.Text, Completed c => c.Text, Cancelled c => c.Text, _ => "" }));
}
