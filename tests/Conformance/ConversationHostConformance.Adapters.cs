namespace LongCtx.Conversations.Tests;

// Conversations that learn from their own text.
partial class ConversationHostConformance
{
    const string Ships = "The first ship came in from the sea, and nobody was on board but the captain's cat. ";

    static Task<LongCtxException> RefusedAsync<T>(Func<ValueTask<T>> call) => Assert.ThrowsAsync<LongCtxException>(() => call().AsTask());

    [Fact]
    public async Task Adapter_ConfiguredAtCreation_LearnsTheFirstInput()
    {
        await using HostDriver host = await OpenAsync();
        ConversationInfo created = await host.Host.CreateConversationAsync(host.Tenant, new(null)
        {
            Adapter = HostDriver.QuickAdapter, Messages = [new("user", string.Concat(Enumerable.Repeat(Ships, 10)))], // more than three chunks
        });
        AdapterInfo adapter = await host.LearnedAsync(created.Id);
        AdapterUpdated[] updates = await host.UpdatesAsync(created.Id);
        Assert.InRange(updates.Length, 3, 10);
        Assert.Equal((updates[^1].Version, updates[^1].Digest, true), (adapter.Version, adapter.Digest, adapter.IsEnabled));
        Assert.True(HostDriver.QuickAdapter.IsSameAs(adapter.Settings!));
        Assert.NotNull(adapter.GainPercent);
        AdapterExport export = await host.Host.ExportAdapterAsync(host.Tenant, created.Id);
        Assert.Equal(adapter.Version, export.Version);
        Assert.IsType<Completed>((await host.SayAsync(created.Id, "1", "And the second?", 8)).End);
    }

    [Fact]
    public async Task Adapter_ConfiguredLater_TheSameAgainChangesNothing_AnotherShapeIsRefused()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        AdapterInfo none = await host.Host.GetAdapterAsync(host.Tenant, id);
        Assert.Equal((null, false, 0, ""), (none.Settings, none.IsEnabled, none.Version, none.Digest));
        Assert.Equal(ErrorCode.NotFound, (await RefusedAsync(() => host.Host.ExportAdapterAsync(host.Tenant, id))).Code);
        Assert.Equal(ErrorCode.NotFound, (await RefusedAsync(() => host.Host.ResetAdapterAsync(host.Tenant, id, disable: true))).Code);
        AdapterSettings settings = HostDriver.QuickAdapter;
        Assert.Equal("adapter.rank", (await RefusedAsync(() => ConfigureAsync(settings with { Rank = 0 }))).Parameter);
        Assert.Equal("adapter.targets", (await RefusedAsync(() => ConfigureAsync(settings with { Targets = ["q", "x"] }))).Parameter);
        Assert.False((await host.Host.GetAdapterAsync(host.Tenant, id)).IsEnabled);

        await host.SayAsync(id, "1", Ships, 8);
        Assert.True((await ConfigureAsync(settings)).IsEnabled);
        long seq = (await host.Host.GetConversationAsync(host.Tenant, id)).Seq;
        await ConfigureAsync(settings with { Targets = [.. settings.Targets.Reverse()] });
        Assert.Equal(seq, (await host.Host.GetConversationAsync(host.Tenant, id)).Seq);

        await host.SayAsync(id, "2", Ships + Ships + Ships, 8);
        AdapterInfo learned = await host.LearnedAsync(id);
        Assert.InRange(learned.Version, 1, 9);
        Assert.Equal(ErrorCode.Conflict, (await RefusedAsync(() => ConfigureAsync(settings with { Rank = 8, Alpha = 8 }))).Code);
        AdapterInfo slower = await ConfigureAsync(settings with { LearningRate = 1e-4 });
        Assert.Equal((1e-4, learned.Version, learned.Digest), (slower.Settings!.LearningRate, slower.Version, slower.Digest));

        ValueTask<AdapterInfo> ConfigureAsync(AdapterSettings settings) => host.Host.ConfigureAdapterAsync(host.Tenant, id, settings);
    }

    [Fact]
    public async Task Adapter_IsConfiguredAndReset_BehindTheLiveTurn()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        TurnTicket first = await host.SubmitAsync(id, "1", "Hello there.", host.Options(100_000));
        Task<AdapterInfo> configured = host.Host.ConfigureAdapterAsync(host.Tenant, id, HostDriver.QuickAdapter).AsTask();
        await host.Host.ReadEventsAsync(host.Tenant, id, first.AcceptedSeq, 1, TimeSpan.FromSeconds(30));
        Assert.False(configured.IsCompleted);
        TurnInfo cancelled = await host.Host.CancelTurnAsync(host.Tenant, id, first.Turn);
        Assert.True((await configured).IsEnabled);
        TurnTicket second = await host.SubmitAsync(id, "2", Ships, host.Options(100_000));
        Task<AdapterInfo> reset = host.Host.ResetAdapterAsync(host.Tenant, id, disable: true).AsTask();
        await host.Host.ReadEventsAsync(host.Tenant, id, second.AcceptedSeq, 1, TimeSpan.FromSeconds(30));
        Assert.False(reset.IsCompleted);
        cancelled = await host.Host.CancelTurnAsync(host.Tenant, id, second.Turn);
        Assert.Equal((false, 0), ((await reset).IsEnabled, (await reset).Version));
        List<ConversationEvent> events = await host.EventsAsync(id);
        Assert.True(events.Last(e => e is AdapterUpdated { Update: null }).Seq > cancelled.EndSeq);
    }

    [Fact]
    public async Task Adapter_Reset_ErasesWhatWasLearned_AndDisabledLearnsNothingMore()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        await host.Host.ConfigureAdapterAsync(host.Tenant, id, HostDriver.QuickAdapter);
        await host.Host.AppendInputAsync(host.Tenant, id, new([new("user", string.Concat(Enumerable.Repeat(Ships, 6)))]));
        AdapterInfo learned = await host.LearnedAsync(id);
        AdapterInfo reset = await host.Host.ResetAdapterAsync(host.Tenant, id, disable: false);
        Assert.Equal((0, "", true), (reset.Version, reset.Digest, reset.IsEnabled));
        Assert.Equal(ErrorCode.NotFound, (await RefusedAsync(() => host.Host.ExportAdapterAsync(host.Tenant, id))).Code);
        await host.Host.AppendInputAsync(host.Tenant, id, new([new("user", string.Concat(Enumerable.Repeat(Ships, 3)))]));
        AdapterInfo again = await host.LearnedAsync(id);
        Assert.True(again.Version > learned.Version, "versions count on");

        AdapterInfo disabled = await host.Host.ResetAdapterAsync(host.Tenant, id, disable: true);
        Assert.Equal((0, false), (disabled.Version, disabled.IsEnabled));
        await host.Host.AppendInputAsync(host.Tenant, id, new([new("user", string.Concat(Enumerable.Repeat(Ships, 3)))]));
        ConversationEvent end = (await host.SayAsync(id, "1", "And the second?", 24)).End;
        Assert.True(end is Completed, $"{end}");
        Assert.IsNotType<AdapterUpdated>((await host.EventsAsync(id))[^1]);
        Assert.Equal(again.Version, (await host.UpdatesAsync(id)).Max(u => u.Version));
    }

    [Fact]
    public async Task Adapter_AForkGoesOnUnderIt_AnImportUnderTheBase()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        AdapterInfo adapter = await host.LearnTwiceAsync(id);
        string fork = (await host.Host.ForkAsync(host.Tenant, id, null)).Id;
        List<string> lines = await host.Host.ExportAsync(host.Tenant, id).ToListAsync();
        string import = (await host.Host.ImportAsync(host.OtherTenant, lines.ToAsyncEnumerable())).Id;
        AdapterInfo forked = await host.Host.GetAdapterAsync(host.Tenant, fork), imported = await host.Host.GetAdapterAsync(host.OtherTenant, import);
        Assert.Equal((adapter.Version, adapter.Digest), (forked.Version, forked.Digest));
        Assert.Equal((0, ""), (imported.Version, imported.Digest));
        Assert.Equal((await host.Host.ExportAdapterAsync(host.Tenant, id)).Weights.ToArray(), (await host.Host.ExportAdapterAsync(host.Tenant, fork)).Weights.ToArray());

        string text = (await host.SayAsync(id, "last", "And then?", 40)).Text;
        Assert.Equal(text, (await host.SayAsync(fork, "last", "And then?", 40)).Text);
        await host.Host.ResetAdapterAsync(host.Tenant, fork, disable: false); // its states are its own
        Assert.Equal(adapter.Version, (await host.Host.ExportAdapterAsync(host.Tenant, id)).Version);
    }
}
