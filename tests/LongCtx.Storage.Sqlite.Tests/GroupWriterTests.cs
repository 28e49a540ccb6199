using Microsoft.Data.Sqlite;

namespace LongCtx.Storage.Sqlite.Tests;

/// <summary>Writes of one group: one transaction, but each for itself.</summary>
public sealed class GroupWriterTests : IAsyncLifetime
{
    readonly TemporaryDirectory directory = new();
    readonly ManualResetEventSlim gate = new();
    GroupWriter writer = null!;
    Connection reader = null!;

    static CancellationToken Stop => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync()
    {
        var connection = SqliteConversationStore.OpenWriter(new() { Directory = directory.Path });
        connection.Run("CREATE TABLE numbers (n INTEGER PRIMARY KEY) STRICT");
        writer = new(connection, directory.File("longctx.db"), null);
        reader = Connection.Open(directory.File("longctx.db"), SqliteOpenMode.ReadOnly, TimeSpan.FromSeconds(1));
        return default;
    }

    Task<int> Insert(int number, CancellationToken cancellation = default) => writer.WriteAsync(c => c.Execute("INSERT INTO numbers VALUES (?1)", number), cancellation);

    /// <summary>Keeps the writer busy until the gate is open, so that what follows becomes one group.</summary>
    Task<int> Block()
    {
        TaskCompletionSource begun = new();
        var blocked = writer.WriteAsync(_ =>
        {
            begun.SetResult();
            gate.Wait(Stop);
            return 0;
        }, Stop);
        begun.Task.Wait(Stop);
        return blocked;
    }

    string Stored() => string.Join(' ', reader.All("SELECT n FROM numbers ORDER BY n", row => row.GetInt64(0)));

    [Fact]
    public async Task WritesThatQueued_AreOneTransaction()
    {
        var first = Block();
        Task<int>[] inserts = [.. Enumerable.Range(1, 20).Select(i => Insert(i, Stop))];
        // The last of them sees all the others, and a reader none.
        var last = writer.WriteAsync(c => (c.First("SELECT count(*) FROM numbers", row => row.GetInt64(0)), Stored()), Stop);
        gate.Set();
        await first;
        Assert.All(await Task.WhenAll(inserts), changed => Assert.Equal(1, changed));
        Assert.Equal((20, ""), await last);
        Assert.Equal(string.Join(' ', Enumerable.Range(1, 20)), Stored());
    }

    [Fact]
    public async Task OneThatFails_LeavesNothingAndDisturbsNobody()
    {
        var first = Block();
        var one = Insert(1, Stop);
        var refused = writer.WriteAsync(c => c.Execute("INSERT INTO numbers VALUES (2)") + c.Execute("INSERT INTO numbers VALUES (1)"), Stop);
        var broken = writer.WriteAsync<int>(c =>
        {
            c.Execute("INSERT INTO numbers VALUES (3)");
            throw new NotSupportedException("broken");
        }, Stop);
        var four = Insert(4, Stop);
        gate.Set();
        await Task.WhenAll(first, one, four);
        Assert.Contains("contradicts what is stored", (await Assert.ThrowsAsync<StoreException>(() => refused)).Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<NotSupportedException>(() => broken);
        Assert.Equal("1 4", Stored());
    }

    [Fact]
    public async Task CancelledWhileItWaited_IsNotWritten()
    {
        var first = Block();
        using CancellationTokenSource cancel = new();
        var cancelled = Insert(1, cancel.Token);
        var two = Insert(2, Stop);
        await cancel.CancelAsync();
        gate.Set();
        await Task.WhenAll(first, two);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        Assert.Equal("2", Stored());
    }

    [Fact]
    public async Task Dispose_WritesWhatWasQueuedAndRefusesMore()
    {
        var first = Block();
        Task<int>[] inserts = [.. Enumerable.Range(1, 1000).Select(i => Insert(i, Stop))]; // several groups
        var disposed = writer.DisposeAsync().AsTask();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => Insert(1001, Stop));
        gate.Set();
        await disposed;
        await first;
        Assert.All(await Task.WhenAll(inserts), changed => Assert.Equal(1, changed));
        Assert.Equal(string.Join(' ', Enumerable.Range(1, 1000)), Stored());
    }

    public async ValueTask DisposeAsync()
    {
        gate.Set();
        reader.Dispose();
        await writer.DisposeAsync();
        gate.Dispose();
        directory.Dispose();
    }
}
