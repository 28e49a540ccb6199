using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Storage.Tests;

namespace LongCtx.Conversations.Tests;

/// <summary>The process ends in the middle of something; the next one goes on, and its text is the uninterrupted run's.</summary>
public sealed class RestoreTests : IDisposable
{
    const string Tenant = DurableHost.TenantName;

    readonly string _directory = Directory.CreateTempSubdirectory("longctx").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    static async Task<string[]> UninterruptedAsync()
    {
        await using DurableHost host = await DurableHost.OpenAsync(new NaiveStore());
        string id = await host.CreateAsync();
        return [(await host.SayAsync(id, "1", "Good evening, captain.", 200)).Text, (await host.SayAsync(id, "2", "And the sea?", 200)).Text];
    }

    [Theory]
    [InlineData(false, RestoreGrade.Replay)]
    [InlineData(true, RestoreGrade.Exact)]
    public async Task ACrashInTheMiddleOfATurn_ChangesNothing(bool savesStates, RestoreGrade grade)
    {
        string[] expected = await UninterruptedAsync();
        var store = new NaiveStore();
        DurableHost before = await DurableHost.OpenAsync(store, savesStates ? _directory : null);
        string id = await before.CreateAsync();
        Assert.Equal(expected[0], (await before.SayAsync(id, "1", "Good evening, captain.", 200)).Text);
        await before.DisposeAsync();
        var held = new HeldStore(store, 4);
        DurableHost first = await DurableHost.OpenAsync(held, savesStates ? _directory : null);
        TurnTicket ticket = await first.SubmitAsync(id, "2", "And the sea?", first.Options(200));
        await held.Reached; // three are in the journal, and the fourth comes too late

        // The old process is not asked: the next one takes the conversation away from it, as after a kill.
        await using DurableHost second = await DurableHost.OpenAsync(store, savesStates ? _directory : null);
        Turn two = await second.FollowAsync(id, ticket.AcceptedSeq - 1);
        held.Release();
        await first.DisposeAsync();
        Assert.Equal(expected[1], two.Text);
        Assert.Equal(grade, two.Usage.Restored);
        Assert.Equal(2, two.Events.Select(e => e.Epoch).Distinct().Count());
        Assert.Equal(two.Events.Select(Body), (await second.EventsAsync(id)).Skip((int)ticket.AcceptedSeq - 1).Select(Body)); // the first one did not get its fourth in

        static string Body(ConversationEvent e) => JournalRecords.ToStored(e, default).Body;
    }

    [Fact]
    public async Task AnOrderlyEnd_ParksTheTurn_AndTheNextProcessFinishesIt()
    {
        string expected;
        await using (DurableHost uninterrupted = await DurableHost.OpenAsync(new NaiveStore()))
            expected = (await uninterrupted.SayAsync(await uninterrupted.CreateAsync(), "1", "Good evening, captain.", 2000)).Text;
        var store = new NaiveStore();
        string id;
        var held = new HeldStore(store, 4);
        DurableHost first = await DurableHost.OpenAsync(held, _directory);
        id = await first.CreateAsync();
        await first.SubmitAsync(id, "1", "Good evening, captain.", first.Options(2000));
        await held.Reached;
        Task parked = first.DisposeAsync().AsTask();
        held.Release();
        await parked;

        Assert.Equal(new ConversationKey(Tenant, id), Assert.Single(await store.ListLiveAsync()));
        await using DurableHost second = await DurableHost.OpenAsync(store, _directory);
        Turn turn = await second.FollowAsync(id, 0);
        Assert.Equal(expected, turn.Text);
        Assert.Equal(RestoreGrade.Exact, turn.Usage.Restored);
    }

    [Fact]
    public async Task ALongLogWithoutASavedState_IsRefilled()
    {
        var store = new NaiveStore();
        string id;
        await using (DurableHost first = await DurableHost.OpenAsync(store))
        {
            id = await first.CreateAsync();
            for (int i = 0; i < 4; i++) await first.SayAsync(id, $"{i}", "Go on, I beg you, with the story of the sea.", 120);
        }

        await using DurableHost second = await DurableHost.OpenAsync(store, change: o => o with { ReplayTokensMax = 300 });
        Turn refilled = await second.SayAsync(id, "x", "And then?", 300);
        Assert.Equal(RestoreGrade.Refill, refilled.Usage.Restored);
        Assert.Null((await second.SayAsync(id, "y", "And then?", 20)).Usage.Restored);
        Assert.InRange(refilled.Usage.Window.Visible, 1, 256);
    }

    [Fact]
    public async Task SavedStates_StayWithinTheirBudget_AndUseIt()
    {
        const int conversations = 6;
        var store = new NaiveStore();
        await RunAsync(1, long.MaxValue);
        long one = Files().Single().Length, budget = one * 5 / 2;
        await RunAsync(conversations, budget);
        Assert.Equal(2, Files().Length); // all have the same length
        Assert.InRange(Files().Sum(f => f.Length), 1, budget);
        await RunAsync(1, 0);
        Assert.Empty(Files());

        FileInfo[] Files() => [.. new DirectoryInfo(_directory).EnumerateFiles("*.kv", SearchOption.AllDirectories)];

        async Task RunAsync(int count, long bytes)
        {
            await using DurableHost host = await DurableHost.OpenAsync(store, _directory, o => o with { KvDirectoryBytesMax = bytes });
            for (int i = 0; i < count; i++) await host.SayAsync(await host.CreateAsync(), "1", "Good evening, captain.", 150);
        }
    }

    [Fact]
    public async Task AnIdleOwnerEnds_AndItsConversationGoesOn()
    {
        string[] expected = await UninterruptedAsync();
        await using DurableHost host = await DurableHost.OpenAsync(new NaiveStore(), _directory, o => o with { IdleTime = TimeSpan.FromMilliseconds(1) });
        string id = await host.CreateAsync();
        Assert.Equal(expected[0], (await host.SayAsync(id, "1", "Good evening, captain.", 200)).Text);
        Assert.Equal(expected[1], (await host.SayAsync(id, "2", "And the sea?", 200)).Text);
    }

    /// <summary>Every call to the store fails once, before or after it was carried out, for good or for the moment: the journal tells the same story.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task AFailureAtEveryCall_LosesNothingThatWasAcknowledged(bool losesReply)
    {
        var (expected, calls) = await RunAsync(null);
        Assert.True(calls > 10, $"the script makes {calls} calls");
        for (int call = 1; call <= calls; call++)
            foreach (bool isTransient in (bool[])[true, false])
            {
                var fault = new Fault(call, losesReply, isTransient);
                TestContext.Current.TestOutputHelper?.WriteLine($"{fault}");
                Assert.Equal(expected, (await RunAsync(fault)).Story);
            }

        static async Task<(string Story, int Calls)> RunAsync(Fault? fault)
        {
            var store = new FaultyStore(new NaiveStore(), fault);
            await using DurableHost host = await PatientlyAsync(() => DurableHost.OpenAsync(store));
            string key = "the one";
            string id = (await PatientlyAsync(() => host.Host.CreateConversationAsync(Tenant, new(null) { IdempotencyKey = key }).AsTask())).Id;
            var story = new List<string>();
            for (int i = 0; i < 2; i++)
            {
                TurnTicket ticket = await PatientlyAsync(() => host.SubmitAsync(id, $"{i}", "Go on.", host.Options(12)).AsTask());
                Turn turn = await PatientlyAsync(() => host.FollowAsync(id, ticket.AcceptedSeq - 1));
                story.Add(turn.Text);
            }

            Assert.True(fault is null || store.Failures == 1 || store.Calls < fault.Call); // how many appends a reply makes varies a little
            return (string.Join("|", story), store.Calls);
        }

        // As a client does: the same request again.
        static async Task<T> PatientlyAsync<T>(Func<Task<T>> ask)
        {
            for (int attempt = 0; ; attempt++)
            {
                try
                {
                    return await ask();
                }
                catch (Exception e) when (attempt < 3 && e is LongCtxException { Code: ErrorCode.StoreUnavailable } or StoreException)
                {
                    // Asked again.
                }
            }
        }
    }
}
