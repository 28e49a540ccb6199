using LongCtx.Storage.Sqlite.Tests.Child;

namespace LongCtx.Storage.Sqlite.Tests;

/// <summary>When the log goes to the disk. That SQLite itself syncs at every commit under `strict` was seen with strace(1).</summary>
public sealed class DurabilityTests : IDisposable
{
    static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    readonly TemporaryDirectory directory = new();
    readonly ManualClock clock = new();
    readonly ProbeJournal journal = new(1);
    int syncs;

    ValueTask<SqliteConversationStore> OpenAsync(Durability level, Exception? failure = null) => SqliteConversationStore.OpenAsync(
        new()
        {
            Directory = directory.Path,
            Durability = level,
            Clock = clock,
            Flush = log =>
            {
                syncs++;
                if (failure is not null) throw failure;
                RandomAccess.FlushToDisk(log);
            },
        },
        TestContext.Current.CancellationToken);

    Task<AppendResult> AppendAsync(SqliteConversationStore store, StoredConversation head, long seq) =>
        store.AppendAsync(journal.Key, journal.Batch(head.Epoch, seq, 1), TestContext.Current.CancellationToken).AsTask();

    [Fact]
    public async Task Standard_SyncsAtMostASecondAfterACommitAndOnlyThen()
    {
        var store = await OpenAsync(Durability.Standard);
        clock.Advance(10 * Second);
        Assert.Equal(0, syncs);

        var head = await journal.AcquireAsync(store);
        for (int i = 0; i < 5; i++) await AppendAsync(store, head, i);
        Assert.Equal(0, syncs);
        clock.Advance(Second);
        Assert.Equal(1, syncs);
        clock.Advance(10 * Second);
        await journal.VerifyAsync(store, 5);
        Assert.Equal(1, syncs);

        await AppendAsync(store, head, 5);
        clock.Advance(Second);
        Assert.Equal(2, syncs);
        await AppendAsync(store, head, 6);
        await store.DisposeAsync();
        Assert.Equal(3, syncs);
    }

    [Fact]
    public async Task Standard_SyncFails_NothingIsAcknowledgedAnyMore()
    {
        await using var store = await OpenAsync(Durability.Standard, new IOException("Input/output error"));
        var head = await journal.AcquireAsync(store);
        clock.Advance(Second);
        for (int i = 0; i < 2; i++)
        {
            var refusal = await Assert.ThrowsAsync<StoreException>(() => AppendAsync(store, head, 0));
            Assert.Contains("longctx.db-wal could not be synced", refusal.Message, StringComparison.Ordinal);
            Assert.False(refusal.IsTransient);
        }
        Assert.Equal(0, (await store.FindAsync(journal.Key, TestContext.Current.CancellationToken))?.Seq);
    }

    [Theory]
    [InlineData(Durability.Relaxed, 0)]
    [InlineData(Durability.Standard, 1)]
    [InlineData(Durability.Strict, 2)]
    public async Task Open_EachLevel_SetsSqlitesSwitch(Durability level, long synchronous)
    {
        await using (var store = await OpenAsync(level))
        {
            await journal.AcquireAsync(store);
            clock.Advance(Second);
            Assert.Equal(level == Durability.Standard ? 1 : 0, syncs);
        }
        using var connection = SqliteConversationStore.OpenWriter(new() { Directory = directory.Path, Durability = level });
        Assert.Equal(synchronous, connection.First("PRAGMA synchronous", row => row.GetInt64(0)));
        Assert.Equal("wal", connection.First("PRAGMA journal_mode", row => row.GetString(0)));
    }

    public void Dispose() => directory.Dispose();
}
