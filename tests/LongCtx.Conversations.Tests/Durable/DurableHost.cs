using LongCtx.Conversations.Local;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Tests;

namespace LongCtx.Conversations.Tests;

/// <summary>A host with an engine of its own, as a process has them, over a store that outlives it.</summary>
internal sealed class DurableHost : IAsyncDisposable
{
    public const string Tenant = "a";

    readonly DecoderModel _model;

    DurableHost(LocalConversationHost host, DecoderModel model) => (Host, _model) = (host, model);

    public LocalConversationHost Host { get; }

    /// <summary>Sampled, so that a repeated draw would show, and without an end of its own.</summary>
    public TurnOptions Options(int maxTokens, ulong seed = 7) => new()
    {
        MaxTokens = maxTokens,
        Sampling = new() { Seed = seed, RepetitionPenalty = 1.1f, LogitBias = _model.StopTokens.ToDictionary(id => id, _ => -100f) },
    };

    public static async Task<DurableHost> OpenAsync(IConversationStore store, string? directory = null, Func<ConversationOptions, ConversationOptions>? change = null, int threads = 1)
    {
        var engine = new InferenceEngine(new EngineOptions { Threads = threads, KvMemoryBytes = 64L << 20 });
        DecoderModel model = await engine.LoadDecoderAsync(Repository.Pg19, "small");
        var options = new ConversationOptions { Store = store, KvDirectory = directory, SaveInterval = TimeSpan.Zero };
        var host = new LocalConversationHost(engine, [model], [], new() { Policy = new PolicyOptions("endless", 256) }, change?.Invoke(options) ?? options);
        await host.ResumeAsync();
        return new(host, model);
    }

    public async Task<string> CreateAsync() => (await Host.CreateConversationAsync(Tenant, new(null))).Id;

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

    public ValueTask DisposeAsync() => Host.DisposeAsync();
}

/// <summary>The events of one turn.</summary>
internal sealed record Turn(IReadOnlyList<ConversationEvent> Events)
{
    public ConversationEvent End => Events[^1];

    public string Text => TextOf(Events);

    public TurnUsage Usage => End is Completed c ? c.Usage : ((Cancelled)End).Usage;

    public static string TextOf(IEnumerable<ConversationEvent> events) =>
        string.Concat(events.Select(e => e switch { Delta d => d.Text, Completed c => c.Text, Cancelled c => c.Text, _ => "" }));
}
