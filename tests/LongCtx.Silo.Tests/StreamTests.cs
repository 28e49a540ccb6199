using LongCtx.Conversations.Tests;
using LongCtx.Silo.Streams;
using Orleans.Streams;

namespace LongCtx.Silo.Tests;

public sealed class TwoSilosWithStreamsInRedis : IAsyncLifetime
{
    public Cluster Cluster { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Cluster = await Cluster.StartAsync(2, streamsInRedis: true);

    public ValueTask DisposeAsync() => Cluster.DisposeAsync();
}

public sealed class MemoryStreamTests(TwoSilos fixture) : StreamTests(fixture.Cluster), IClassFixture<TwoSilos>;

public sealed class RedisStreamTests(TwoSilosWithStreamsInRedis fixture) : StreamTests(fixture.Cluster), IClassFixture<TwoSilosWithStreamsInRedis>;

/// <summary>What the cluster's streams deliver, whichever provider they have.</summary>
public abstract class StreamTests(Cluster cluster)
{
    readonly HostDriver _driver = cluster.Driver(cluster.Silos[0]);

    IAsyncStream<byte[]> StreamOf(string name, string id) => cluster.Streams.GetStream<byte[]>(StreamId.Create(name, StreamNames.KeyOf(_driver.Tenant, id)));

    [Fact]
    public async Task Tokens_ASubscriberSeesTheJournal()
    {
        string id = await _driver.CreateAsync();
        await _driver.SayAsync(id, "1", "Hello there.", 4);
        long before = (await _driver.Host.GetConversationAsync(_driver.Tenant, id)).Seq;
        var reader = new TokenReader(_driver.Host, _driver.Tenant, id, before);
        List<ConversationEvent> seen = [];
        var ended = new TaskCompletionSource();
        StreamSubscriptionHandle<byte[]> handle = await StreamOf(StreamNames.Tokens, id).SubscribeAsync(async (bytes, _) =>
        {
            seen.AddRange(await reader.TakeAsync(Payloads.Read<TokenBatch>(bytes)));
            if (seen.Any(e => e is Completed)) ended.TrySetResult();
        });
        Turn turn = await _driver.SayAsync(id, "2", "And then?", 100);
        await ended.Task.WaitAsync(TimeSpan.FromSeconds(30));
        await handle.UnsubscribeAsync();
        Assert.Equal(turn.Events.Select(e => e.Seq), seen.Select(e => e.Seq).Where(seq => seq >= turn.Events[0].Seq));
        Assert.Equal(turn.Text, Turn.TextOf(seen.Where(e => e.Turn == turn.End.Turn)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Tokens_LostDoubledAndDisorderedBatches_AreRepaired(int seed)
    {
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        string id = await _driver.CreateAsync();
        await _driver.SayAsync(id, "1", "Hello there.", 300);
        List<ConversationEvent> journal = await _driver.EventsAsync(id);
        var random = new Random(seed);
        List<TokenBatch> batches = [.. journal.Chunk(3).Select(part => TokenBatch.Of(id, part))];
        List<TokenBatch> delivered = [.. batches.SelectMany(b => Enumerable.Repeat(b, random.Next(3)))]; // none, one or two of each
        for (int i = 0; i < delivered.Count / 3; i++)
        {
            int at = random.Next(delivered.Count - 1);
            (delivered[at], delivered[at + 1]) = (delivered[at + 1], delivered[at]);
        }

        delivered.Add(batches[^1]);
        var reader = new TokenReader(_driver.Host, _driver.Tenant, id);
        List<ConversationEvent> seen = [];
        foreach (TokenBatch batch in delivered) seen.AddRange(await reader.TakeAsync(batch));
        Assert.Equal(journal.Select(e => e.Seq), seen.Select(e => e.Seq));
    }

    [Fact]
    public async Task Ingest_TextArrivesOnceAndInOrder()
    {
        const int Pieces = 200;
        string id = await _driver.CreateAsync();
        IAsyncStream<byte[]> stream = StreamOf(StreamNames.Ingest, id);
        for (int i = 1; i <= Pieces; i++)
        {
            byte[] piece = Payloads.Write(new IngestBatch("book", i, [new("user", $"Line {i} of the book of the sea, which has no end. ")]));
            await stream.OnNextAsync(piece);
            if (i % 10 == 0) await stream.OnNextAsync(piece); // once more
        }

        List<InputAppended> appended = [];
        for (long after = 0; appended.Count < Pieces;)
        {
            EventPage page = await _driver.Host.ReadEventsAsync(_driver.Tenant, id, after, 100, TimeSpan.FromSeconds(60));
            Assert.NotEmpty(page.Events);
            appended.AddRange(page.Events.OfType<InputAppended>());
            after = page.Events[^1].Seq;
        }

        Assert.Equal(Enumerable.Range(1, Pieces).Select(n => (long)n), appended.Select(a => a.Number));
        Assert.All(appended, a => Assert.Equal($"Line {a.Number} of the book of the sea, which has no end. ", a.Messages[0].Content));
    }
}
