using System.Collections.Concurrent;
using LongCtx.Conversations.Local;
using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Tests;
using LongCtx.Silo.Streams;
using Orleans.Streams;
using Orleans.TestingHost;

namespace LongCtx.Silo.Tests;

/// <summary>Silos die, leave and are doubted in the middle of turns: readers see dense events and the text that an undisturbed run has.</summary>
public sealed class FailoverTests : IAsyncLifetime
{
    const int Conversations = 6, Tokens = 600;

    Cluster _cluster = null!;
    HostDriver _driver = null!;

    public async ValueTask InitializeAsync()
    {
        _cluster = await Cluster.StartAsync(2, gateways: 1);
        _driver = _cluster.Driver(_cluster.Gateway);
    }

    public ValueTask DisposeAsync() => _cluster.DisposeAsync();

    static string Question(int i) => $"Tell me the {i}th story of the sea.";

    async Task<string[]> UndisturbedAsync()
    {
        HostDriver other = _cluster.Driver(_cluster.Gateway);
        return await Task.WhenAll(Enumerable.Range(0, Conversations).Select(async i => (await other.SayAsync(await other.CreateAsync(), "1", Question(i), Tokens)).Text));
    }

    /// <summary>Starts turns, calls <paramref name="disturb"/> once each has begun to be answered, and follows them to their ends.</summary>
    async Task<string[]> DisturbedAsync(Func<string[], Task> disturb)
    {
        string[] ids = await Task.WhenAll(Enumerable.Range(0, Conversations).Select(_ => _driver.CreateAsync()));
        TurnTicket[] tickets = await Task.WhenAll(ids.Select((id, i) => _driver.SubmitAsync(id, "1", Question(i), _driver.Options(Tokens)).AsTask()));
        foreach ((string id, TurnTicket ticket) in ids.Zip(tickets))
            Assert.NotEmpty((await _driver.Host.ReadEventsAsync(_driver.Tenant, id, ticket.AcceptedSeq, 1, TimeSpan.FromSeconds(30))).Events);
        Task<Turn>[] readers = [.. ids.Select(id => _driver.FollowAsync(id, 0))];
        await disturb(ids);
        Turn[] turns = await Task.WhenAll(readers);
        Assert.All(turns, turn => Assert.IsType<Completed>(turn.End));
        return [.. turns.Select(t => t.Text)];
    }

    [Fact]
    public async Task ASiloIsKilled_ItsTurnsGoOnElsewhere()
    {
        string[] expected = await UndisturbedAsync();
        string[] texts = await DisturbedAsync(async ids =>
        {
            InProcessSiloHandle victim = ids.Select(id => _cluster.OwnerOf(_driver.Tenant, id)).OfType<InProcessSiloHandle>().First();
            await _cluster.KillAsync(victim); // its owners go on writing in this process, and are fenced
        });
        Assert.Equal(expected, texts);
    }

    [Fact]
    public async Task ASiloLeaves_ItsTurnsMove()
    {
        string[] expected = await UndisturbedAsync();
        string[] texts = await DisturbedAsync(async ids =>
        {
            InProcessSiloHandle leaving = ids.Select(id => _cluster.OwnerOf(_driver.Tenant, id)).OfType<InProcessSiloHandle>().First();
            await _cluster.StopAsync(leaving);
        });
        Assert.Equal(expected, texts);
    }

    [Fact]
    public async Task ASecondActivation_FencesTheFirst()
    {
        string id = await _driver.CreateAsync();
        await _driver.SayAsync(id, "1", Question(0), 20);
        InProcessSiloHandle first = _cluster.OwnerOf(_driver.Tenant, id)!;
        ConversationOwner thief = await _cluster.StealAsync(_cluster.Engines.First(s => s != first), _driver.Tenant, id);
        Turn turn = await _driver.SayAsync(id, "2", "And then?", 20); // the grain is refused by the store, leaves, and the next one takes the conversation back
        Assert.IsType<Completed>(turn.End);
        await Assert.ThrowsAnyAsync<Exception>(() => thief.AppendInputAsync(new([new("user", "late")])));
        Leave? left = await thief.Completion;
        Assert.Equal(AppendStatus.Fenced, left?.Status);
        List<ConversationEvent> events = await _driver.EventsAsync(id);
        Assert.Equal(Enumerable.Range(1, events.Count).Select(n => (long)n), events.Select(e => e.Seq));
        Assert.True(events.Zip(events.Skip(1)).All(pair => pair.First.Epoch <= pair.Second.Epoch));
    }

    /// <summary>Subscribers of the cluster's own stream miss nothing either: what the stream loses with a silo, the reader fetches.</summary>
    [Fact]
    public async Task ASiloIsKilled_SubscribersOfTheStreamSeeTheJournal()
    {
        Dictionary<string, (TokenReader Reader, ConcurrentQueue<ConversationEvent> Seen)> seen = [];
        List<StreamSubscriptionHandle<byte[]>> handles = [];
        await DisturbedAsync(async ids =>
        {
            foreach (string id in ids)
            {
                var reader = new TokenReader(_driver.Host, _driver.Tenant, id);
                var events = new ConcurrentQueue<ConversationEvent>();
                seen[id] = (reader, events);
                handles.Add(await _cluster.Streams.GetStream<byte[]>(StreamId.Create(StreamNames.Tokens, StreamNames.KeyOf(_driver.Tenant, id))).SubscribeAsync(async (bytes, _) =>
                {
                    foreach (ConversationEvent e in await reader.TakeAsync(Payloads.Read<TokenBatch>(bytes))) events.Enqueue(e);
                }));
            }

            await _cluster.KillAsync(ids.Select(id => _cluster.OwnerOf(_driver.Tenant, id)).OfType<InProcessSiloHandle>().First());
        });
        foreach ((string id, (TokenReader reader, ConcurrentQueue<ConversationEvent> events)) in seen)
        {
            List<ConversationEvent> journal = await _driver.EventsAsync(id);
            await handles[seen.Keys.ToList().IndexOf(id)].UnsubscribeAsync();
            foreach (ConversationEvent e in await reader.TakeAsync(TokenBatch.Of(id, [journal[^1]]))) events.Enqueue(e); // a subscriber that wants the end asks for it
            Assert.Equal(journal.Select(e => e.Seq), events.Select(e => e.Seq));
        }
    }

    [Fact]
    public async Task RedisIsPaused_TurnsGoOn()
    {
        string[] expected = await UndisturbedAsync();
        string[] texts = await DisturbedAsync(async _ =>
        {
            _cluster.Redis.Pause();
            await Task.Delay(TimeSpan.FromSeconds(3)); // how long Redis says nothing
            _cluster.Redis.Resume();
        });
        Assert.Equal(expected, texts);
    }

    [Fact]
    public async Task RedisStartsAgain_TurnsGoOn()
    {
        string[] expected = await UndisturbedAsync();
        string[] texts = await DisturbedAsync(async _ =>
        {
            await _cluster.Redis.ShellAsync("CLIENT", "KILL", "TYPE", "normal");
            await _cluster.Redis.ShellAsync("SHUTDOWN", "NOSAVE"); // the append-only file is written
            await _cluster.Redis.StartAgainAsync();
        });
        Assert.Equal(expected, texts);
    }
}
