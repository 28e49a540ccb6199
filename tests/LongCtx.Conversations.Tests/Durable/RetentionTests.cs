using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Storage.Tests;

namespace LongCtx.Conversations.Tests;

public sealed class RetentionTests
{
    const int Retained = 12;

    static Task<DurableHost> OpenAsync(IConversationStore store, string? states = null) => DurableHost.OpenAsync(store, states, o => o with { RetainEvents = Retained });

    /// <summary>More than the window of 256 tokens.</summary>
    static async Task<string> FillAsync(DurableHost host)
    {
        string id = await host.CreateAsync();
        for (int i = 0; i < 8; i++) await host.SayAsync(id, $"{i}", "Go on, I beg you, with the story of the sea.", 120);
        return id;
    }

    static async Task<StoredConversation> SettledAsync(DurableHost host, NaiveStore store, string id)
    {
        await host.DisposeAsync(); // waits for what goes on behind the turns
        return (await store.FindAsync(new(DurableHost.TenantName, id)))!;
    }

    [Fact]
    public async Task OldEventsGo_TheWindowAndTheSegmentsStay()
    {
        var store = new NaiveStore();
        DurableHost host = await OpenAsync(store);
        string id = await FillAsync(host);
        StoredConversation head = await SettledAsync(host, store, id);
        Assert.InRange(head.FirstSeq, 2, head.Seq - Retained + 1);

        // Segments and what is left of the events are still the whole log.
        var segments = await store.ReadSegmentsAsync(head.Key, 0, int.MaxValue);
        Assert.Equal(0, segments[0].First);
        Assert.All(segments.Zip(segments.Skip(1)), pair => Assert.Equal(pair.First.First + pair.First.Tokens.Length, pair.Second.First));
        var left = (await store.ReadAsync(head.Key, head.FirstSeq - 1, int.MaxValue)).Select(Machine.JournalRecords.ToEvent).First(e => e.TokenCount > 0);
        Assert.InRange(left.TokenStart, 1, segments[^1].First + segments[^1].Tokens.Length);
    }

    [Fact]
    public async Task AReaderOfForgottenEvents_IsToldWhereTheyBegin()
    {
        var store = new NaiveStore();
        DurableHost first = await OpenAsync(store);
        string id = await FillAsync(first);
        StoredConversation head = await SettledAsync(first, store, id);

        await using DurableHost host = await OpenAsync(store);
        EventPage page = await host.Host.ReadEventsAsync(DurableHost.TenantName, id, 0, 10, TimeSpan.Zero);
        Assert.Equal(head.FirstSeq, page.Gap);
        Assert.Empty(page.Events);
        Assert.Equal(head.FirstSeq, (await host.Host.ReadEventsAsync(DurableHost.TenantName, id, page.Gap - 1, 10, TimeSpan.Zero)).Events[0].Seq);
        Assert.Equal(head.FirstSeq, (await host.Host.GetConversationAsync(DurableHost.TenantName, id)).FirstSeq);
    }

    [Fact]
    public async Task ATrimmedConversation_GoesOnExactlyFromItsSavedState_AndOtherwiseFromItsWindow()
    {
        string directory = Directory.CreateTempSubdirectory("longctx").FullName;
        try
        {
            var (expected, _) = await RunAsync(null, 0);
            Assert.Equal((expected, RestoreGrade.Exact), await RunAsync(directory, Retained));
            var (_, grade) = await RunAsync(null, Retained);
            Assert.Equal(RestoreGrade.Refill, grade);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }

        static async Task<(string, RestoreGrade?)> RunAsync(string? states, int retained)
        {
            var store = new NaiveStore();
            DurableHost first = await DurableHost.OpenAsync(store, states, o => o with { RetainEvents = retained });
            string id = await FillAsync(first);
            StoredConversation head = await SettledAsync(first, store, id);
            Assert.Equal(retained > 0, head.FirstSeq > 1);
            await using DurableHost second = await DurableHost.OpenAsync(store, states, o => o with { RetainEvents = retained });
            Turn turn = await second.SayAsync(id, "x", "And then?", 60);
            Assert.IsType<Completed>(turn.End);
            return (turn.Text, turn.Usage.Restored);
        }
    }
}
