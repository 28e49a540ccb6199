using LongCtx.Conversations.Local;
using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Tests;
using Orleans.TestingHost;

namespace LongCtx.Silo.Tests;

/// <summary>Silos die, leave and are doubted while conversations learn: what was learned and journaled goes on with them, and nothing else gets in.</summary>
public sealed class LearningFailoverTests : IAsyncLifetime
{
    const int Conversations = 4, Tokens = 400;

    const string Ships = "The first ship came in from the sea, and nobody was on board but the captain's cat. ";

    Cluster _cluster = null!;
    HostDriver _driver = null!;

    public async ValueTask InitializeAsync()
    {
        _cluster = await Cluster.StartAsync(2, gateways: 1);
        _driver = _cluster.Driver(_cluster.Gateway);
    }

    public ValueTask DisposeAsync() => _cluster.DisposeAsync();

    IConversationHost Host => _driver.Host;

    static Task<T[]> AllAsync<T>(Func<int, Task<T>> each) => Task.WhenAll(Enumerable.Range(0, Conversations).Select(each));

    /// <summary>One with text for about 15 chunks, of which it has learned two: the third is on its way.</summary>
    async Task<string> LearningAsync()
    {
        string id = await _driver.CreateAsync();
        await Host.ConfigureAdapterAsync(_driver.Tenant, id, HostDriver.QuickAdapter);
        await Host.AppendInputAsync(_driver.Tenant, id, new([new("user", string.Concat(Enumerable.Repeat(Ships, 45)))]));
        for (long seq = 0; (await Host.GetAdapterAsync(_driver.Tenant, id)).Version < 2;)
            seq = (await Host.ReadEventsAsync(_driver.Tenant, id, seq, 1000, TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken)).Head;
        return id;
    }

    InProcessSiloHandle OwnerOf(IEnumerable<string> ids) => ids.Select(id => _cluster.OwnerOf(_driver.Tenant, id)).OfType<InProcessSiloHandle>().First();

    /// <summary>It learns on from where the journal stands until nothing is left, and the journal has no gap, no repetition, and the states that it names.</summary>
    /// <param name="id">Of the conversation.</param>
    /// <param name="before">When all was well.</param>
    /// <param name="moves">Whether another owner had to go on with it.</param>
    async Task GoesOnAsync(string id, AdapterInfo before, bool moves)
    {
        AdapterInfo after = await _driver.LearnedAsync(id);
        AdapterUpdated[] updates = await _driver.UpdatesAsync(id);
        Assert.Equal((updates[^1].Version, updates[^1].Digest, updates[^1].Update!.To), (after.Version, after.Digest, after.TrainedTo));
        Assert.Equal((before.Version, before.Digest), (updates[before.Version - 1].Version, updates[before.Version - 1].Digest));
        Assert.True(!moves || updates.Select(u => u.Epoch).Distinct().Count() > 1, "it was not in the middle of learning");
        List<ConversationEvent> events = await _driver.EventsAsync(id);
        Assert.Equal(Enumerable.Range(1, events.Count).Select(n => (long)n), events.Select(e => e.Seq));
        Assert.True(events.Zip(events.Skip(1)).All(pair => pair.First.Epoch <= pair.Second.Epoch), "no event of an owner that was replaced");
        Assert.Equal(after.Version, (await Host.ExportAdapterAsync(_driver.Tenant, id)).Version);

        // Whoever computes under a version has compared its stored state with the journal's digest; a lost one would fail the turn.
        string fork = (await Host.ForkAsync(_driver.Tenant, id, null)).Id;
        Assert.IsType<Completed>((await _driver.SayAsync(fork, "last", "And then?", 8)).End);
        Assert.Equal(after.Digest, (await Host.GetAdapterAsync(_driver.Tenant, fork)).Digest);
        Assert.IsType<Completed>((await _driver.SayAsync(id, "last", "And then?", 8)).End);
    }

    /// <summary>The reply under two versions, in a fork that nothing happens to, and in the conversation while its silo goes.</summary>
    async Task TextIsTheSameAsync(Func<InProcessSiloHandle, Task> disturb)
    {
        string[] ids = await AllAsync(async _ =>
        {
            string id = await _driver.CreateAsync();
            await _driver.LearnTwiceAsync(id);
            return id;
        });
        foreach (string id in ids) Assert.Equal(2, (await _driver.UpdatesAsync(id)).Length);
        AdapterInfo[] before = await AllAsync(i => Host.GetAdapterAsync(_driver.Tenant, ids[i]).AsTask());
        string[] expected = await AllAsync(async i => (await _driver.SayAsync((await Host.ForkAsync(_driver.Tenant, ids[i], null)).Id, "long", "Tell me all of it.", Tokens)).Text);
        TurnTicket[] tickets = await AllAsync(i => _driver.SubmitAsync(ids[i], "long", "Tell me all of it.", _driver.Options(Tokens)).AsTask());
        foreach ((string id, TurnTicket ticket) in ids.Zip(tickets))
            Assert.NotEmpty((await Host.ReadEventsAsync(_driver.Tenant, id, ticket.AcceptedSeq, 1, TimeSpan.FromSeconds(30))).Events);
        Task<Turn[]> readers = AllAsync(i => _driver.FollowAsync(ids[i], tickets[i].AcceptedSeq - 1));
        InProcessSiloHandle victim = OwnerOf(ids);
        string[] moved = [.. ids.Where(id => _cluster.OwnerOf(_driver.Tenant, id) == victim)];
        await disturb(victim);
        Turn[] turns = await readers;
        Assert.Equal(expected, turns.Select(t => t.Text));
        Assert.Contains(turns, t => t.Usage.Restored == RestoreGrade.Replay);
        foreach ((string id, AdapterInfo was) in ids.Zip(before))
        {
            AdapterInfo now = await Host.GetAdapterAsync(_driver.Tenant, id);
            Assert.Equal((was.Version, was.Digest, was.TrainedTo), (now.Version, now.Digest, now.TrainedTo));
        }

        foreach (string id in moved) // and from there on
        {
            string fork = (await Host.ForkAsync(_driver.Tenant, id, null)).Id;
            Assert.Equal((await _driver.SayAsync(fork, "more", "What more?", 24)).Text, (await _driver.SayAsync(id, "more", "What more?", 24)).Text);
        }
    }

    [Fact]
    public Task ASiloIsKilled_ItsRepliesGoOnUnderTheirVersions() => TextIsTheSameAsync(_cluster.KillAsync);

    [Fact]
    public Task ASiloLeaves_ItsRepliesGoOnUnderTheirVersions() => TextIsTheSameAsync(_cluster.StopAsync);

    /// <summary>In this process the owners of a killed silo go on: what they learn and store then must be refused.</summary>
    [Fact]
    public async Task ASiloIsKilled_WhileItsConversationsLearnAndReply_TheyGoOnElsewhere()
    {
        string[] ids = await AllAsync(_ => LearningAsync());
        TurnTicket[] tickets = await AllAsync(i => _driver.SubmitAsync(ids[i], "1", "And the second?", _driver.Options(60), waits: true).AsTask());
        AdapterInfo[] before = await AllAsync(i => Host.GetAdapterAsync(_driver.Tenant, ids[i]).AsTask());
        InProcessSiloHandle victim = OwnerOf(ids);
        bool[] moves = [.. ids.Select(id => _cluster.OwnerOf(_driver.Tenant, id) == victim)];
        await _cluster.KillAsync(victim);
        foreach (Turn turn in await AllAsync(i => _driver.FollowAsync(ids[i], tickets[i].AcceptedSeq - 1))) Assert.IsType<Completed>(turn.End);
        await Task.WhenAll(ids.Select((id, i) => GoesOnAsync(id, before[i], moves[i])));
    }

    [Fact]
    public async Task ASiloLeaves_WhileItsConversationsLearn_TheyGoOnElsewhere()
    {
        string[] ids = await AllAsync(_ => LearningAsync());
        AdapterInfo[] before = await AllAsync(i => Host.GetAdapterAsync(_driver.Tenant, ids[i]).AsTask());
        InProcessSiloHandle victim = OwnerOf(ids);
        bool[] moves = [.. ids.Select(id => _cluster.OwnerOf(_driver.Tenant, id) == victim)];
        await _cluster.StopAsync(victim);
        await Task.WhenAll(ids.Select((id, i) => GoesOnAsync(id, before[i], moves[i])));
    }

    [Fact]
    public async Task ASecondActivation_LearnsOn_AndTheFirstGetsNothingIn()
    {
        string id = await LearningAsync();
        AdapterInfo before = await Host.GetAdapterAsync(_driver.Tenant, id);
        InProcessSiloHandle first = _cluster.OwnerOf(_driver.Tenant, id)!;
        ConversationOwner thief = await _cluster.StealAsync(_cluster.Engines.First(s => s != first), _driver.Tenant, id); // both learn the same chunks now
        await _cluster.LeftAsync(first, _driver.Tenant, id);
        long epoch = (await _driver.EventsAsync(id)).Max(e => e.Epoch);
        await GoesOnAsync(id, before, moves: true); // the turn at its end is asked of the grain, which takes the conversation back
        await Assert.ThrowsAnyAsync<Exception>(() => thief.AppendInputAsync(new([new("user", "late")])));
        Assert.Equal(AppendStatus.Fenced, (await thief.Completion)?.Status);
        Assert.True((await _driver.EventsAsync(id)).Max(e => e.Epoch) > epoch);
    }

    /// <summary>Whatever Orleans does with an activation that nobody calls.</summary>
    [Fact]
    public async Task AnActivationIsCollected_WhileItLearns_NothingStoredIsLost()
    {
        string id = await LearningAsync();
        AdapterInfo before = await Host.GetAdapterAsync(_driver.Tenant, id);
        await _cluster.Service<IGrainFactory>(_cluster.Gateway).GetGrain<IManagementGrain>(0).ForceActivationCollection(TimeSpan.Zero);
        await GoesOnAsync(id, before, moves: true);
    }

    [Fact]
    public async Task Deleted_NothingOfItIsLeftInRedis()
    {
        string id = await LearningAsync();
        string part = (await _cluster.Redis.KeysAsync()).Single(k => k.Contains(id, StringComparison.Ordinal) && k.EndsWith(":blobs", StringComparison.Ordinal))[..^"blobs".Length];
        Assert.Contains(await KeysAsync(), k => k.Contains(":blob:", StringComparison.Ordinal));
        await Host.DeleteConversationAsync(_driver.Tenant, id); // in the middle of a chunk
        await _cluster.LeftAsync(null, _driver.Tenant, id);
        foreach (string key in await KeysAsync())
        {
            Assert.NotEqual("-1", await _cluster.Redis.ShellAsync("PTTL", key)); // it goes by itself
            if (key != part + "head") Assert.Equal("closed\n1", await _cluster.Redis.ShellAsync("HGETALL", key)); // no late piece of a state may come
        }

        async Task<string[]> KeysAsync() => [.. (await _cluster.Redis.KeysAsync()).Where(k => k.StartsWith(part, StringComparison.Ordinal))];
    }
}
