using LongCtx.Conversations.Storage.Tests;

namespace LongCtx.Conversations.Tests;

/// <summary>A conversation that learns from its own text: what is journaled is what is computed, before and after every kind of end.</summary>
public sealed class LearningTests : IDisposable
{
    const string Tenant = DurableHost.TenantName;

    static readonly AdapterSettings s_settings = HostDriver.QuickAdapter;

    readonly string _directory = Directory.CreateTempSubdirectory("longctx").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    /// <summary>Talks until so many chunks were learned and the rest is too short for another one.</summary>
    static async Task<string> LearnAsync(DurableHost host, int chunks, AdapterSettings? settings = null)
    {
        string id = await host.CreateAsync();
        await host.Host.ConfigureAdapterAsync(Tenant, id, settings ?? s_settings);
        int turn = 0;
        while ((await host.Host.GetConversationAsync(Tenant, id)).Tokens < chunks * s_settings.Chunk) await host.SayAsync(id, $"{++turn}", "Go on with the story.", 20);
        await host.LearnedAsync(id);
        return id;
    }

    /// <summary>The same text each time, without a reply.</summary>
    static async Task<string> FeedAsync(DurableHost host, int sentences, AdapterSettings settings)
    {
        string id = await host.CreateAsync();
        await host.Host.ConfigureAdapterAsync(Tenant, id, settings);
        string text = string.Concat(Enumerable.Range(1, sentences).Select(i => $"The ship number {i} came in from the sea. "));
        await host.Host.AppendInputAsync(Tenant, id, new([new("user", text)]));
        await host.LearnedAsync(id);
        return id;
    }

    [Fact]
    public async Task ChunksAreLearnedInOrder_AndOnlyTheNewestStatesAreKept()
    {
        var store = new NaiveStore();
        await using DurableHost host = await DurableHost.OpenAsync(store);
        string id = await LearnAsync(host, 4);
        AdapterUpdated[] updates = [.. (await host.EventsAsync(id)).OfType<AdapterUpdated>()];
        Assert.True(updates.Length >= 4, $"{updates.Length} updates");
        Assert.Equal(Enumerable.Range(1, updates.Length), updates.Select(u => u.Version));
        Assert.Equal(Enumerable.Range(0, updates.Length).Select(i => (i * 64L, i * 64L + 64)), updates.Select(u => (u.Update!.From, u.Update.To)));
        Assert.All(updates, u => Assert.True(u.Update!.Loss[^1] < u.Update.Loss[0], "the second step is taken from a lower loss"));
        Assert.All(updates, u => Assert.True(u.FirstToken >= u.Update!.To, "a version is used behind what it has learned"));
        Assert.Equal(updates.Length, updates.Select(u => u.Digest).Distinct().Count());
        AdapterInfo adapter = await host.Host.GetAdapterAsync(Tenant, id);
        Assert.Equal((updates[^1].Version, updates[^1].Digest), (adapter.Version, adapter.Digest));
        Assert.NotNull(adapter.GainPercent);
        await host.DisposeAsync(); // what was still to be erased is
        var names = (await store.ListBlobsAsync(new(Tenant, id))).Select(b => b.Name);
        Assert.Contains($"adapter-{adapter.Version}", names);
        Assert.InRange(names.Count(), 1, 3); // the one before, and one that is just being erased
    }

    /// <summary>The cache that lived through the changes, the one from disk and the one computed again from the journal say the same.</summary>
    [Theory]
    [InlineData(2, false, RestoreGrade.Replay)]
    [InlineData(2, true, RestoreGrade.Exact)]
    [InlineData(5, true, RestoreGrade.Exact)]
    public async Task RestoredUnderItsVersions_TheTextIsTheSame(int chunks, bool savesStates, RestoreGrade grade)
    {
        var store = new NaiveStore();
        await using DurableHost live = await DurableHost.OpenAsync(store, savesStates ? _directory : null);
        string id = await LearnAsync(live, chunks);
        if (savesStates) await SavedAsync(store, id);
        NaiveStore crashed = store.Copy();
        string states = _directory + ".copy";
        if (savesStates) CopyFiles(_directory, states);
        Turn expected = await live.SayAsync(id, "last", "And then?", 12);
        Assert.Null(expected.Usage.Restored);

        await using DurableHost next = await DurableHost.OpenAsync(crashed, savesStates ? states : null);
        Turn restored = await next.SayAsync(id, "last", "And then?", 12);
        Assert.Equal(expected.Text, restored.Text);
        Assert.Equal(grade, restored.Usage.Restored);
        if (savesStates) Directory.Delete(states, recursive: true);
    }

    /// <summary>The newest version that begins within the log is in the saved state, which is written behind the journal.</summary>
    async Task SavedAsync(NaiveStore store, string id)
    {
        var state = Machine.ConversationState.Parse((await store.FindAsync(new(Tenant, id)))!.State);
        string digest = state.Adapter!.Versions.LastOrDefault(v => v.FirstToken < state.Tokens)?.Digest ?? "";
        for (int i = 0; i < 600; i++)
        {
            if (new DirectoryInfo(_directory).EnumerateFiles("*.kv", SearchOption.AllDirectories).FirstOrDefault() is { } file && File.ReadAllText(file.FullName).Contains($"\"adapter\":\"{digest}\"", StringComparison.Ordinal)) return;
            await Task.Delay(50, TestContext.Current.CancellationToken); // a file has no event to wait for
        }

        Assert.Fail("the state was not saved within 30 s");
    }

    static void CopyFiles(string from, string to)
    {
        foreach (string file in Directory.EnumerateFiles(from, "*.kv", SearchOption.AllDirectories))
        {
            string target = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
    }

    [Fact]
    public async Task AForkGoesOnUnderTheSameVersions_AnImportUnderTheBase()
    {
        await using DurableHost host = await DurableHost.OpenAsync(new NaiveStore());
        string id = await LearnAsync(host, 2);
        string fork = (await host.Host.ForkAsync(Tenant, id, null)).Id;
        string import = (await host.Host.ImportAsync(Tenant, host.Host.ExportAsync(Tenant, id))).Id;
        AdapterInfo adapter = await host.Host.GetAdapterAsync(Tenant, id), forked = await host.Host.GetAdapterAsync(Tenant, fork), imported = await host.Host.GetAdapterAsync(Tenant, import);
        Assert.Equal((adapter.Version, adapter.Digest), (forked.Version, forked.Digest));
        Assert.Equal((0, ""), (imported.Version, imported.Digest));
        string text = (await host.SayAsync(id, "last", "And then?", 12)).Text;
        Assert.Equal(text, (await host.SayAsync(fork, "last", "And then?", 12)).Text);
        AdapterExport export = await host.Host.ExportAdapterAsync(Tenant, fork);
        Assert.Equal(adapter.Version, export.Version);
    }

    [Fact]
    public async Task AReset_GivesUpAllThatWasComputed_AndRestoresTheBase()
    {
        var store = new NaiveStore();
        await using DurableHost host = await DurableHost.OpenAsync(store, _directory);
        string id = await LearnAsync(host, 3);
        NaiveStore before = store.Copy();
        AdapterInfo reset = await host.Host.ResetAdapterAsync(Tenant, id, disable: true);
        Assert.Equal((0, "", false), (reset.Version, reset.Digest, reset.IsEnabled));
        Turn turn = await host.SayAsync(id, "last", "And then?", 12);
        Assert.Equal(RestoreGrade.Refill, turn.Usage.Restored);
        Assert.Empty(await store.ListBlobsAsync(new(Tenant, id)));
        var refusal = await Assert.ThrowsAsync<LongCtxException>(() => host.Host.ExportAdapterAsync(Tenant, id).AsTask());
        Assert.Equal(ErrorCode.NotFound, refusal.Code);

        // A conversation of the same text that never learned, refilled at the same token.
        await using DurableHost plain = await DurableHost.OpenAsync(before, change: o => o with { ReplayTokensMax = 0 });
        await plain.Host.ResetAdapterAsync(Tenant, id, disable: true);
        Turn twin = await plain.SayAsync(id, "last", "And then?", 12);
        Assert.Equal(twin.Text, turn.Text);
        // Computed again from the refill on, also after another end.
        await using DurableHost next = await DurableHost.OpenAsync(store.Copy());
        await using DurableHost live = host;
        Assert.Equal((await live.SayAsync(id, "more", "What more?", 12)).Text, (await next.SayAsync(id, "more", "What more?", 12)).Text);
    }

    [Fact]
    public async Task AnotherConversation_IsNotInfluenced()
    {
        await using DurableHost plain = await DurableHost.OpenAsync(new NaiveStore());
        string expected = (await plain.SayAsync(await plain.CreateAsync(), "1", "Good evening, captain.", 60)).Text;
        await using DurableHost host = await DurableHost.OpenAsync(new NaiveStore());
        string id = await LearnAsync(host, 3), other = await host.CreateAsync();
        TurnTicket beside = await host.SubmitAsync(id, "beside", "Go on with the story.", host.Options(60));
        Assert.Equal(expected, (await host.SayAsync(other, "1", "Good evening, captain.", 60)).Text);
        await host.FollowAsync(id, beside.AcceptedSeq - 1);
    }

    [Fact]
    public async Task WhatDiverges_IsRejectedWithItsReason_AndTheConversationGoesOn()
    {
        await using DurableHost host = await DurableHost.OpenAsync(new NaiveStore());
        string id = await LearnAsync(host, 2, s_settings with { LearningRate = 1, Guard = true, GradientClip = 0 });
        AdapterRejected[] rejected = [.. (await host.EventsAsync(id)).OfType<AdapterRejected>()];
        Assert.NotEmpty(rejected);
        Assert.All(rejected, r => Assert.NotEmpty(r.Update.Rejected!));
        Assert.NotEmpty((await host.SayAsync(id, "last", "And then?", 12)).Text);
    }

    [Fact]
    public async Task ALostState_IsSaid_AndTheBaseTakesOver()
    {
        var store = new NaiveStore();
        string id;
        await using (DurableHost first = await DurableHost.OpenAsync(store)) id = await LearnAsync(first, 2);
        long epoch = (await store.FindAsync(new(Tenant, id)))!.Epoch;
        foreach (var blob in await store.ListBlobsAsync(new(Tenant, id))) await store.DeleteBlobAsync(new(Tenant, id), epoch, blob.Name);
        await using DurableHost second = await DurableHost.OpenAsync(store);
        TurnTicket ticket = await second.SubmitAsync(id, "x", "And then?", second.Options(12));
        Turn failed = await second.FollowAsync(id, ticket.AcceptedSeq - 1);
        Assert.Contains("lost", Assert.IsType<Failed>(failed.End).Message);
        Turn turn = await second.SayAsync(id, "y", "And then?", 12);
        Assert.IsType<Completed>(turn.End);
        Assert.Equal(0, (await second.Host.GetAdapterAsync(Tenant, id)).Version);
    }

    /// <summary>One chunk behind, and the window is computed anew: at most that version and the one before it are in it, and a restore does the same.</summary>
    [Fact]
    public async Task AWindowThatGrewTooOld_IsComputedAnew()
    {
        var store = new NaiveStore();
        await using DurableHost host = await DurableHost.OpenAsync(store);
        string id = await FeedAsync(host, 30, s_settings with { MaxStale = 1 }); // nothing is being answered while it learns
        AdapterUpdated[] updates = [.. (await host.EventsAsync(id)).OfType<AdapterUpdated>()];
        Assert.Contains(updates, u => u is { IsRefill: true, Version: > 0 });
        Turn live = await host.SayAsync(id, "last", "And then?", 12);
        NaiveStore crashed = store.Copy();
        Assert.Equal(RestoreGrade.Refill, live.Usage.Restored);
        await using DurableHost next = await DurableHost.OpenAsync(crashed);
        Assert.Equal((await host.SayAsync(id, "more", "What more?", 12)).Text, (await next.SayAsync(id, "more", "What more?", 12)).Text);
    }

    [Fact]
    public async Task LearnedAgainstTheLiveCache_VersionsFollowOneAnotherToo()
    {
        var store = new NaiveStore();
        await using DurableHost host = await DurableHost.OpenAsync(store);
        string id = await FeedAsync(host, 13, s_settings with { Mode = AdapterSettings.Cached, Prefix = 0 });
        AdapterUpdated[] updates = [.. (await host.EventsAsync(id)).OfType<AdapterUpdated>()];
        Assert.True(updates.Length >= 2);
        NaiveStore crashed = store.Copy();
        string live = (await host.SayAsync(id, "last", "And then?", 12)).Text;
        await using DurableHost next = await DurableHost.OpenAsync(crashed);
        Assert.Equal(live, (await next.SayAsync(id, "last", "And then?", 12)).Text);

        // Without a prefix, learning a chunk by itself starts from a higher loss than learning it behind what the cache holds.
        await using DurableHost twin = await DurableHost.OpenAsync(new NaiveStore());
        string bare = await FeedAsync(twin, 13, s_settings with { Prefix = 0 });
        AdapterUpdate second = (await twin.EventsAsync(bare)).OfType<AdapterUpdated>().ElementAt(1).Update!;
        Assert.True(updates[1].Update!.BaseLoss < second.BaseLoss - 0.02, $"{updates[1].Update!.BaseLoss} against {second.BaseLoss}");
    }

    [Fact]
    public async Task AServerThatDoesNotTrain_RefusesToBeAsked()
    {
        await using DurableHost host = await DurableHost.OpenAsync(new NaiveStore(), trainingShare: 0);
        string id = await host.CreateAsync();
        var refusal = await Assert.ThrowsAsync<LongCtxException>(() => host.Host.ConfigureAdapterAsync(Tenant, id, s_settings).AsTask());
        Assert.Contains("--training-share", refusal.Message);
        Assert.Equal("adapter", refusal.Parameter);
    }

    [Fact]
    public async Task SettingsThatCannotBeHonoured_AreRefused()
    {
        await using DurableHost host = await DurableHost.OpenAsync(new NaiveStore());
        string id = await LearnAsync(host, 2);
        Assert.Equal("adapter.rank", (await RefusedAsync(s_settings with { Rank = 0 })).Parameter);
        Assert.Equal("adapter.targets", (await RefusedAsync(s_settings with { Targets = ["q", "x"] })).Parameter);
        Assert.Equal("adapter.learning_rate", (await RefusedAsync(s_settings with { LearningRate = double.NaN })).Parameter);
        Assert.Equal("adapter.chunk", (await RefusedAsync(s_settings with { Chunk = 512, Prefix = 512 })).Parameter); // more than the model was trained on
        Assert.Equal(ErrorCode.Conflict, (await RefusedAsync(s_settings with { Rank = 8, Alpha = 8 })).Code);
        Assert.True((await host.Host.ConfigureAdapterAsync(Tenant, id, s_settings with { LearningRate = 1e-4 })).IsEnabled);

        async Task<LongCtxException> RefusedAsync(AdapterSettings settings) => await Assert.ThrowsAsync<LongCtxException>(() => host.Host.ConfigureAdapterAsync(Tenant, id, settings).AsTask());
    }
}
