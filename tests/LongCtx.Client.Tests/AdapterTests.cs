namespace LongCtx.Client.Tests;

/// <summary>A conversation's temporary adapter through the client.</summary>
public sealed class AdapterTests(RealServer server) : IClassFixture<RealServer>
{
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Adapter_OverAServerThatLosesAnswers_IsConfiguredResetAndDisabled()
    {
        // Nothing of every second answer arrives; what was asked has been done.
        await using Proxy proxy = new(server.Address, connection => connection % 2 == 0 ? 1 : null);
        LongCtxClientOptions options = new() { Server = proxy.Address, RetryDelay = TimeSpan.FromMilliseconds(1), RetryDelayMax = TimeSpan.FromMilliseconds(20) };
        LongCtxClient client = new(new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.Zero }), options);
        AdapterSettings first = new() { Rank = 4, Targets = ["q"], StartAfter = 1L << 40, MaxStale = 2 };
        string id = (await client.CreateConversationAsync(new(null) { Adapter = first }, Cancellation)).Id;
        AdapterInfo made = await client.GetAdapterAsync(id, Cancellation);
        Assert.True(made.IsEnabled && made.Settings!.IsSameAs(first), $"{made}");

        AdapterSettings second = new() { LearningRate = 5e-4, Guard = false, Mode = AdapterSettings.Cached };
        Assert.True((await client.ConfigureAdapterAsync(id, second, Cancellation)).Settings!.IsSameAs(second));
        Assert.True((await client.ConfigureAdapterAsync(id, cancellation: Cancellation)).Settings!.IsSameAs(new()));
        AdapterInfo reset = await client.ResetAdapterAsync(id, Cancellation), disabled = await client.DisableAdapterAsync(id, Cancellation);
        Assert.Equal((true, 0, false, 0), (reset.IsEnabled, reset.Version, disabled.IsEnabled, disabled.Version));
        Assert.True(proxy.Cut >= 5, $"{proxy.Cut} connections were cut");
    }

    [Fact]
    public async Task Adapter_OfAJournalThatLearned_ComesTyped()
    {
        LongCtxClient client = server.Client();
        string id = (await client.CreateConversationAsync(new(null) { Messages = [new("user", "It was a dark and stormy night.")] }, Cancellation)).Id;
        List<string> lines = await client.ExportAsync(id, Cancellation).ToListAsync(Cancellation);
        ConversationInfo learned = await client.ImportAsync(LearnedJournal.Learn(lines).ToAsyncEnumerable(), Cancellation);

        AdapterInfo adapter = await client.GetAdapterAsync(learned.Id, Cancellation);
        Assert.Equal(100 * (1 - Math.Exp(-0.25)), adapter.GainPercent!.Value, 1e-9);
        AssertUpdates(adapter.History);
        List<ConversationEvent> events = [];
        await foreach (ConversationEvent e in client.SubscribeAsync(learned.Id, 0, Cancellation))
        {
            events.Add(e);
            if (e.Seq == learned.Seq) break;
        }
        Assert.Equal(8, Assert.Single(events.OfType<AdapterConfigured>()).Settings.Rank);
        AssertUpdates([.. events.Select(e => (e as AdapterUpdated)?.Update ?? (e as AdapterRejected)?.Update).OfType<AdapterUpdate>()]);
        Assert.True(Assert.IsType<AdapterUpdated>(events[^1]).IsRefill);
    }

    static void AssertUpdates(IReadOnlyList<AdapterUpdate> updates)
    {
        Assert.Equal(LearnedJournal.Updates.Select(u => u with { Loss = [] }), updates.Select(u => u with { Loss = [] }));
        Assert.Equal(LearnedJournal.Updates.Select(u => u.Loss), updates.Select(u => u.Loss));
    }

    [Fact]
    public async Task Export_OfWhatWasLearned_IsAPeftDirectory()
    {
        await using RealServer learned = new() { Around = LearnedHost.Around };
        await learned.InitializeAsync();
        LongCtxClient client = learned.Client();
        string id = (await client.CreateConversationAsync(cancellation: Cancellation)).Id;
        AdapterExport export = await client.ExportAdapterAsync(id, Cancellation);
        Assert.Equal(LearnedHost.Export.Version, export.Version);
        Assert.Equal(LearnedHost.Export.Config, export.Config);
        Assert.Equal(LearnedHost.Export.Weights, export.Weights);
    }

    [Fact]
    public async Task Adapter_Refusals_AreWhatTheServerSaid()
    {
        LongCtxClient client = server.Client();
        string id = (await client.CreateConversationAsync(cancellation: Cancellation)).Id;
        Assert.Null((await client.GetAdapterAsync(id, Cancellation)).Settings);
        Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<LongCtxException>(() => client.ExportAdapterAsync(id, Cancellation))).Code);
        Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<LongCtxException>(() => client.DisableAdapterAsync(id, Cancellation))).Code);
        LongCtxException refused = await Assert.ThrowsAsync<LongCtxException>(() => client.ConfigureAdapterAsync(id, new() { Rank = 0 }, Cancellation));
        Assert.Equal((ErrorCode.InvalidRequest, "rank"), (refused.Code, refused.Parameter));
    }
}
