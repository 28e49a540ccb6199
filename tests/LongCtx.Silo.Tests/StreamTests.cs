using System.Globalization;
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

    /// <summary>As many as INGEST_TOKENS says (`./test.sh --long`: a million).</summary>
    static int IngestTokens => int.Parse(Environment.GetEnvironmentVariable("INGEST_TOKENS") ?? "30000", CultureInfo.InvariantCulture);

    [Fact]
    public async Task Ingest_TextArrivesOnceAndInOrder()
    {
        string id = await _driver.CreateAsync();
        IAsyncStream<byte[]> stream = cluster.Streams.GetStream<byte[]>(StreamId.Create(StreamNames.Ingest, StreamNames.KeyOf(_driver.Tenant, id)));
        using var enough = new CancellationTokenSource();
        Task<long> sending = Task.Run(async () =>
        {
            long number = 0;
            while (!enough.IsCancellationRequested)
            {
                byte[] piece = Payloads.Write(new IngestBatch("book", ++number, [new("user", Text(number))]));
                await stream.OnNextAsync(piece);
                if (number % 10 == 0) await stream.OnNextAsync(piece); // once more
                while (number > Volatile.Read(ref _arrived) + 50 && !enough.IsCancellationRequested) await Task.Delay(5); // a stream takes what it is given; the sender looks how far the journal is
            }

            return number;
        });
        long tokens = 0;
        for (long after = 0; tokens < IngestTokens;)
        {
            EventPage page = await _driver.Host.ReadEventsAsync(_driver.Tenant, id, after, 100, TimeSpan.FromSeconds(60));
            Assert.NotEmpty(page.Events);
            foreach (InputAppended piece in page.Events.OfType<InputAppended>())
            {
                Assert.Equal(Volatile.Read(ref _arrived) + 1, piece.Number);
                Assert.Equal(Text(piece.Number), piece.Messages[0].Content);
                Interlocked.Increment(ref _arrived);
                tokens += piece.TokenCount;
            }

            after = page.Events[^1].Seq;
        }

        await enough.CancelAsync();
        Assert.True(await sending >= _arrived);

        static string Text(long number) => string.Concat(Enumerable.Repeat($"Line {number} of the book of the sea, which has no end. ", 20));
    }

    long _arrived;
}
