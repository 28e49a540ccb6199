using System.Text;
using LongCtx.Storage.Sqlite.Tests.Child;
using Microsoft.Data.Sqlite;

namespace LongCtx.Storage.Sqlite.Tests;

/// <summary>Damaged and locked databases: a clear error, and nothing that was acknowledged is overwritten.</summary>
public sealed class DamageTests : IDisposable
{
    readonly TemporaryDirectory directory = new();
    readonly ProbeJournal journal = new(1);

    string Database => directory.File("longctx.db");

    ValueTask<SqliteConversationStore> OpenAsync() =>
        SqliteConversationStore.OpenAsync(new() { Directory = directory.Path, BusyTimeout = TimeSpan.FromSeconds(1) }, TestContext.Current.CancellationToken);

    async Task FillAsync(int batches)
    {
        await using var store = await OpenAsync();
        var head = await journal.AcquireAsync(store);
        for (int i = 0; i < batches; i++) await store.AppendAsync(journal.Key, journal.Batch(head.Epoch, i, 1, 2000), TestContext.Current.CancellationToken);
    }

    async Task<StoreException> RefusedOpenAsync()
    {
        var refusal = await Assert.ThrowsAsync<StoreException>(async () =>
        {
            await using (await OpenAsync()) { }
        });
        Assert.Contains(Database, refusal.Message, StringComparison.Ordinal);
        Assert.False(refusal.IsTransient);
        return refusal;
    }

    [Theory]
    [InlineData("this is not a database; a text that somebody saved under this name, long enough to be taken for a header of one hundred bytes ...........")]
    [InlineData("short")]
    public async Task Open_NotADatabase_IsRefusedAndUntouched(string content)
    {
        await File.WriteAllTextAsync(Database, content, TestContext.Current.CancellationToken);
        Assert.Contains("is not a SQLite database", (await RefusedOpenAsync()).Message, StringComparison.Ordinal);
        Assert.Equal(content, await File.ReadAllTextAsync(Database, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Open_TornFirstPage_IsRefused()
    {
        await FillAsync(50);
        await OverwriteAsync(100, 3996);
        Assert.Contains("is damaged", (await RefusedOpenAsync()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Read_DamagedPages_SaysSoAndWhatToDo()
    {
        await FillAsync(200);
        await OverwriteAsync(16 * 4096, 60 * 4096);
        await using var store = await OpenAsync();
        var refusal = await Assert.ThrowsAsync<StoreException>(() => store.ReadAsync(journal.Key, 0, 1000, TestContext.Current.CancellationToken).AsTask());
        Assert.Contains($"{Database} is damaged. Restore it from a backup", refusal.Message, StringComparison.Ordinal);
        Assert.False(refusal.IsTransient);
    }

    async Task OverwriteAsync(int start, int length)
    {
        await using var file = File.OpenWrite(Database);
        Assert.True(file.Length > start + length, $"the database has {file.Length} bytes only");
        file.Position = start;
        await file.WriteAsync(Encoding.ASCII.GetBytes(new string('x', length)), TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Append_LockedByAnotherProgram_IsTransientAndReadsGoOn()
    {
        await using var store = await OpenAsync();
        var head = await journal.AcquireAsync(store);
        await store.AppendAsync(journal.Key, journal.Batch(head.Epoch, 0, 1), TestContext.Current.CancellationToken);
        var batch = journal.Batch(head.Epoch, 1, 1);
        using (var shell = Connection.Open(Database, SqliteOpenMode.ReadWrite, TimeSpan.FromSeconds(1)))
        {
            shell.Run("BEGIN IMMEDIATE; UPDATE conversations SET state = 'uncommitted'");
            var writing = store.AppendAsync(journal.Key, batch, TestContext.Current.CancellationToken).AsTask();
            await journal.VerifyAsync(store, 1);
            Assert.False(writing.IsCompleted); // it waits for the lock, the reads did not
            var refusal = await Assert.ThrowsAsync<StoreException>(() => writing);
            Assert.Contains($"{Database} is locked by another program", refusal.Message, StringComparison.Ordinal);
            Assert.True(refusal.IsTransient);
            shell.Run("ROLLBACK");
        }
        Assert.Equal(new(AppendStatus.Appended, 2), await store.AppendAsync(journal.Key, batch, TestContext.Current.CancellationToken));
        await journal.VerifyAsync(store, 2);
    }

    public void Dispose() => directory.Dispose();
}
