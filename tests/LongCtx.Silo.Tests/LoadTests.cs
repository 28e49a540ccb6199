using System.Diagnostics.Metrics;
using LongCtx.Conversations.Tests;
using LongCtx.Silo.Grains;

namespace LongCtx.Silo.Tests;

public sealed class LoadTests(TwoSilos fixture) : IClassFixture<TwoSilos>
{
    readonly HostDriver _driver = fixture.Cluster.Driver(fixture.Cluster.Silos[0]);

    /// <summary>Grain turns that held a thread for more than a second, in all silos of this process.</summary>
    sealed class LongTurns : IDisposable
    {
        readonly MeterListener _listener = new();
        long _count;

        public LongTurns()
        {
            _listener.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Name == "orleans-scheduler-long-running-turns") listener.EnableMeasurementEvents(instrument);
            };
            _listener.SetMeasurementEventCallback<int>((_, n, _, _) => Interlocked.Add(ref _count, n));
            _listener.SetMeasurementEventCallback<long>((_, n, _, _) => Interlocked.Add(ref _count, n));
            _listener.Start();
        }

        public long Count => Interlocked.Read(ref _count);

        public void Dispose() => _listener.Dispose();
    }

    [Fact]
    public async Task AThousandIdleConversations_CostLittle_AndNoGrainTurnIsLong()
    {
        const int Conversations = 1000, BytesMax = 64 << 10;
        using var turns = new LongTurns();
        string[] ids = await Task.WhenAll(Enumerable.Range(0, Conversations).Select(_ => _driver.CreateAsync()));
        await WakeAsync(ids[..10]); // what is made once
        long before = GC.GetTotalMemory(forceFullCollection: true);
        await WakeAsync(ids);
        long active = (GC.GetTotalMemory(forceFullCollection: true) - before) / Conversations;
        Assert.Equal(Conversations, fixture.Cluster.Silos.Sum(s => fixture.Cluster.Service<GrainRegistry>(s).Active.Count(a => a.Tenant == _driver.Tenant)));
        foreach (string[] some in ids.Chunk(50)) await Task.WhenAll(some.Select(id => _driver.Host.AppendInputAsync(_driver.Tenant, id, new([new("user", "Hello.")])).AsTask()));
        long used = (GC.GetTotalMemory(forceFullCollection: true) - before) / Conversations;
        TestContext.Current.TestOutputHelper!.WriteLine($"managed memory of a conversation: {active} bytes when it is active, {used} after its first input (its stream and its keys' places included)");
        Assert.InRange(active, 0, BytesMax);
        Assert.Equal(0, turns.Count);

        async Task WakeAsync(string[] ids)
        {
            var grains = fixture.Cluster.Service<IGrainFactory>(fixture.Cluster.Silos[0]);
            TenantFilter.Become(_driver.Tenant);
            foreach (string[] some in ids.Chunk(50)) await Task.WhenAll(some.Select(id => grains.GetGrain<IConversationGrain>(GrainKeys.Of(new(_driver.Tenant, id))).WakeAsync().AsTask()));
        }
    }

    /// <summary>Chunks that take long are learned beside the grain, and Orleans does not collect an activation that nobody calls meanwhile.</summary>
    [Fact]
    public async Task ALongTraining_IsNoLongGrainTurn_AndKeepsItsActivation()
    {
        TimeSpan age = TimeSpan.FromSeconds(22); // a timer shows every 20 s that there is work
        using var turns = new LongTurns();
        string id = await _driver.CreateAsync();
        await _driver.Host.ConfigureAdapterAsync(_driver.Tenant, id, HostDriver.QuickAdapter with { Chunk = 256, Prefix = 256, Epochs = 16 });
        await _driver.Host.AppendInputAsync(_driver.Tenant, id, new([new("user", string.Concat(Enumerable.Repeat("The ship came in from the sea, and nobody was on board. ", 2000)))]));
        var owner = fixture.Cluster.OwnerOf(_driver.Tenant, id);
        await Task.Delay(age + TimeSpan.FromSeconds(3)); // idle for longer than that, were it not for the timer
        await fixture.Cluster.Service<IGrainFactory>(fixture.Cluster.Silos[0]).GetGrain<IManagementGrain>(0).ForceActivationCollection(age);
        Assert.NotNull(owner);
        Assert.Equal(owner, fixture.Cluster.OwnerOf(_driver.Tenant, id));
        ConversationInfo conversation = await _driver.Host.GetConversationAsync(_driver.Tenant, id);
        AdapterInfo adapter = await _driver.Host.GetAdapterAsync(_driver.Tenant, id);
        Assert.True(conversation.Tokens - adapter.TrainedTo >= 256, $"it was done already: {adapter.TrainedTo} of {conversation.Tokens}");
        Assert.Equal(0, turns.Count);
        await _driver.Host.DeleteConversationAsync(_driver.Tenant, id);
        await fixture.Cluster.LeftAsync(null, _driver.Tenant, id);
    }

    [Fact]
    public async Task OneHotConversation_AnswersOrRefuses()
    {
        using var turns = new LongTurns();
        string id = await _driver.CreateAsync();
        using var stop = new CancellationTokenSource();
        Task[] readers = [.. Enumerable.Range(0, 100).Select(async _ =>
        {
            for (long after = 0; !stop.IsCancellationRequested;)
            {
                EventPage page = await _driver.Host.ReadEventsAsync(_driver.Tenant, id, after, 10, TimeSpan.FromSeconds(1));
                Assert.All(page.Events, e => Assert.Equal(++after, e.Seq));
            }
        })];
        int[] accepted = await Task.WhenAll(Enumerable.Range(0, 20).Select(async writer =>
        {
            int count = 0;
            for (int i = 0; i < 10; i++)
            {
                try
                {
                    await _driver.SubmitAsync(id, $"{writer}.{i}", "Go on.", _driver.Options(8));
                    count++;
                }
                catch (LongCtxException e) when (e.Code == ErrorCode.TurnInProgress)
                {
                    // As it should be: one at a time.
                }
            }

            return count;
        }));
        await stop.CancelAsync();
        await Task.WhenAll(readers);
        Assert.InRange(accepted.Sum(), 1, 200);
        List<ConversationEvent> events = await _driver.EventsAsync(id);
        Assert.Equal(accepted.Sum(), events.Count(e => e is TurnAccepted));
        Assert.Equal(0, turns.Count);
    }
}
