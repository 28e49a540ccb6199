using System.Text;
using Microsoft.Data.Sqlite;

namespace LongCtx.Storage.Sqlite.Tests;

public sealed class DeletionTests : IDisposable
{
    const string Secret = "the secret of the sea";

    static readonly ConversationKey Key = new("default", "conv_1");

    /// <summary>Two blobs of 2.1 MB, three pieces each.</summary>
    const int BlobRows = 2 + 2 * 3;

    readonly TemporaryDirectory directory = new();

    static CancellationToken Stop => TestContext.Current.CancellationToken;

    ValueTask<SqliteConversationStore> OpenAsync() => SqliteConversationStore.OpenAsync(new() { Directory = directory.Path }, Stop);

    /// <summary>More than one transaction removes.</summary>
    static async Task FillAsync(SqliteConversationStore store, ConversationKey key)
    {
        Assert.True(await store.CreateAsync(key, new("m", 1, new Dictionary<string, string> { ["title"] = Secret }), Stop));
        var head = await store.AcquireAsync(key, "test", Stop);
        var batch = new AppendBatch(head!.Epoch, 0, Guid.NewGuid(), [.. Enumerable.Range(1, 2500).Select(i => new StoredEvent(i, "delta", new[] { i }, Secret))], Secret)
        {
            Turns = [.. Enumerable.Range(1, 1100).Select(i => new TurnInfo(i, $"{i} {Secret}", Secret, TurnStatus.Completed, i, i))],
            Segments = [.. Enumerable.Range(1, 250).Select(i => new StoredSegment(i, i, new int[2000], Secret))],
        };
        Assert.Equal(AppendStatus.Appended, (await store.AppendAsync(key, batch, Stop)).Status);
        foreach (string name in new[] { "state", "older" })
            Assert.Equal(AppendStatus.Appended, await store.PutBlobAsync(key, head.Epoch, name, new(Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat(Secret, 100_000)))), Stop));
    }

    [Fact]
    public async Task Delete_LongConversation_LeavesNoTraceInTheFile()
    {
        await using (var store = await OpenAsync()) await FillAsync(store, Key);
        Assert.Contains(Secret, await FileAsync(), StringComparison.Ordinal);
        await using (var store = await OpenAsync()) Assert.True(await store.DeleteAsync(Key, Stop));
        Assert.DoesNotContain(Secret, await FileAsync(), StringComparison.Ordinal);
        AssertRows(0);
    }

    [Fact]
    public async Task Delete_WhileOthersAreAppendedTo_LeavesThemAlone()
    {
        await using (var store = await OpenAsync())
        {
            ConversationKey[] keys = [.. Enumerable.Range(1, 3).Select(i => new ConversationKey("default", $"conv_{i}"))];
            foreach (var key in keys) await FillAsync(store, key);
            var delete = Task.WhenAll(store.DeleteAsync(keys[0], Stop).AsTask(), store.DeleteAsync(keys[2], Stop).AsTask());
            for (long seq = 2500; seq < 2600; seq++)
                Assert.Equal(new(AppendStatus.Appended, seq + 1), await store.AppendAsync(keys[1], new(1, seq, Guid.NewGuid(), [new(seq + 1, "delta", default, "")], ""), Stop));
            Assert.All(await delete, Assert.True);
            Assert.Equal(2600, (await store.ReadAsync(keys[1], 0, 10_000, Stop)).Count);
        }
        AssertRows(2600 + 1100 + 250 + BlobRows);
    }

    [Fact]
    public async Task Open_KilledInMidDeletion_RemovesTheRest()
    {
        await using (var store = await OpenAsync()) await FillAsync(store, Key);
        using (var connection = SqliteConversationStore.OpenWriter(new() { Directory = directory.Path }))
        {
            connection.Execute(Sql.Bury, 1, 1);
            connection.Execute(Sql.PurgeEvents, 1, 1000);
        }
        AssertRows(1500 + 1100 + 250 + BlobRows);
        await using (await OpenAsync()) { }
        AssertRows(0);
        await using (var store = await OpenAsync()) Assert.NotNull((await store.FindAsync(Key, Stop))?.Deleted);
    }

    [Fact]
    public async Task Delete_IsDatedByTheClock()
    {
        var clock = new ManualClock();
        await using var store = await SqliteConversationStore.OpenAsync(new() { Directory = directory.Path, Clock = clock }, Stop);
        await FillAsync(store, Key);
        Assert.True(await store.DeleteAsync(Key, Stop));
        Assert.Equal(clock.GetUtcNow().ToUnixTimeMilliseconds(), (await store.FindAsync(Key, Stop))?.Deleted);
    }

    async Task<string> FileAsync() => Encoding.Latin1.GetString(await File.ReadAllBytesAsync(directory.File("longctx.db"), Stop));

    void AssertRows(long expected)
    {
        using var connection = Connection.Open(directory.File("longctx.db"), SqliteOpenMode.ReadOnly, TimeSpan.FromSeconds(1));
        Assert.Equal(expected, connection.First("""
            SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM turns) + (SELECT count(*) FROM segments)
            + (SELECT count(*) FROM blobs) + (SELECT count(*) FROM blob_pieces)
            """, row => row.GetInt64(0)));
    }

    public void Dispose() => directory.Dispose();
}
