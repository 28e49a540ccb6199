using System.Buffers;
using System.Globalization;
using LongCtx.Conversations.Storage.Tests;
using LongCtx.Storage.Sqlite.Tests.Child;
using Microsoft.Data.Sqlite;

namespace LongCtx.Storage.Sqlite.Tests;

/// <summary>What of a blob lies in the file when a put ended early, in this process or with it.</summary>
public sealed class BlobTests : IDisposable
{
    static readonly ConversationKey Key = new ProbeJournal(0).Key;

    readonly TemporaryDirectory directory = new();

    static CancellationToken Stop => TestContext.Current.CancellationToken;

    ValueTask<SqliteConversationStore> OpenAsync(Durability level = Durability.Standard) => SqliteConversationStore.OpenAsync(new() { Directory = directory.Path, Durability = level }, Stop);

    /// <summary>Blobs and their pieces, named or not.</summary>
    (long Blobs, long Pieces) Rows()
    {
        using var connection = Connection.Open(directory.File("longctx.db"), SqliteOpenMode.ReadOnly, TimeSpan.FromSeconds(1));
        return connection.First("SELECT (SELECT count(*) FROM blobs), (SELECT count(*) FROM blob_pieces)", row => (row.GetInt64(0), row.GetInt64(1)));
    }

    [Theory]
    [InlineData(Durability.Relaxed)]
    [InlineData(Durability.Standard)]
    [InlineData(Durability.Strict)]
    public async Task Sigkill_InMidPut_LeavesAWholeBlobAndNothingElse(Durability level)
    {
        int seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var random = new Random(seed);
        int acknowledged = 0, unfinished = 0;
        for (int round = 0; round < 6; round++)
        {
            acknowledged = await PutUntilKilledAsync(level, random.Next(1, 5), random.Next(1, 4), acknowledged);
            if (Rows().Blobs > 1) unfinished++;
            await using var store = await OpenAsync(level);
            int version = await ProbeBlob.VersionAsync(store, Key);
            Assert.InRange(version, acknowledged, acknowledged + 1);
            Assert.Equal((1, ProbeBlob.Content(version).Length > 4 * BlobPieces.Size ? 5 : 4), Rows());
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{acknowledged} versions acknowledged; {unfinished} of 6 kills left pieces behind");
    }

    /// <summary>The last version that the child said is stored. It dies after so many, in the middle of the next: when that has some pieces, or it is too fast for us.</summary>
    async Task<int> PutUntilKilledAsync(Durability level, int versions, int pieces, int acknowledged)
    {
        using var child = ChildProcess.Start("put", directory.Path, level.ToString());
        while (await child.StandardOutput.ReadLineAsync(Stop) is { } line)
        {
            if (line.EndsWith(';')) acknowledged = int.Parse(line.TrimEnd(';'), CultureInfo.InvariantCulture);
            if (--versions != 0) continue;
            for (int looks = 0; looks < 1000 && Rows().Pieces < pieces + 5; looks++) await Task.Yield();
            child.Kill();
        }
        await child.WaitForExitAsync(Stop);
        Assert.True(versions <= 0, "The child ended by itself: " + await child.StandardError.ReadToEndAsync(Stop));
        return acknowledged;
    }

    [Theory]
    [InlineData("cancelled")]
    [InlineData("fenced")]
    [InlineData("conversation deleted")]
    public async Task Put_EndsInTheMiddle_ItsPiecesGo(string end)
    {
        await using var store = await OpenAsync();
        var head = await new ProbeJournal(0).AcquireAsync(store);
        using CancellationTokenSource cancel = new();
        using HeldStoreContent held = new(new byte[3 * BlobPieces.Size]);
        var putting = Task.Run(() => store.PutBlobAsync(Key, head.Epoch, "state", held.Sequence, cancel.Token).AsTask(), Stop);
        await held.Reached;
        Assert.Equal((1, 2), Rows());
        if (end == "cancelled") await cancel.CancelAsync();
        else if (end == "fenced") await store.AcquireAsync(Key, "next", Stop);
        else Assert.True(await store.DeleteAsync(Key, Stop));
        held.Release();
        if (end == "cancelled") await Assert.ThrowsAnyAsync<OperationCanceledException>(() => putting);
        else Assert.Equal(end == "fenced" ? AppendStatus.Fenced : AppendStatus.Gone, await putting);
        Assert.Equal((0, 0), Rows());
    }

    [Fact]
    public async Task Put_WhereAnEarlierSweepFailed_SweepsThatToo()
    {
        await using var store = await OpenAsync();
        var head = await new ProbeJournal(0).AcquireAsync(store);
        Assert.Equal(AppendStatus.Appended, await store.PutBlobAsync(Key, head.Epoch, "other", new([1]), Stop));
        using (var shell = Connection.Open(directory.File("longctx.db"), SqliteOpenMode.ReadWrite, TimeSpan.FromSeconds(5)))
            shell.Run("UPDATE blobs SET name = NULL");
        Assert.Equal(AppendStatus.Appended, await store.PutBlobAsync(Key, head.Epoch, "state", new([1]), Stop));
        Assert.Equal((1, 1), Rows());
    }

    [Fact]
    public async Task Put_Again_UsesTheRoomOfTheOneBefore()
    {
        await using (var store = await OpenAsync())
        {
            var head = await new ProbeJournal(0).AcquireAsync(store);
            for (int version = 0; version < 12; version++)
                Assert.Equal(AppendStatus.Appended, await store.PutBlobAsync(Key, head.Epoch, "state", new(new byte[4 * BlobPieces.Size]), Stop));
        }
        Assert.InRange(new FileInfo(directory.File("longctx.db")).Length, 4 * BlobPieces.Size, 10 * BlobPieces.Size);
    }

    /// <summary>A figure for whoever changes the size of a piece; no bound on time, which depends on the machine.</summary>
    [Fact]
    public async Task Append_WhileABigBlobIsPut_GetsInBetween()
    {
        await using var store = await OpenAsync();
        var head = await new ProbeJournal(0).AcquireAsync(store);
        ProbeJournal other = new(1);
        var otherHead = await other.AcquireAsync(store);
        var putting = Task.Run(() => store.PutBlobAsync(Key, head.Epoch, "state", new ReadOnlySequence<byte>(new byte[64 * BlobPieces.Size]), Stop).AsTask(), Stop);
        List<TimeSpan> delays = [];
        for (long seq = 0; !putting.IsCompleted; seq++)
        {
            long start = TimeProvider.System.GetTimestamp();
            Assert.Equal(AppendStatus.Appended, (await store.AppendAsync(other.Key, other.Batch(otherHead.Epoch, seq, 1), Stop)).Status);
            delays.Add(TimeProvider.System.GetElapsedTime(start));
        }
        Assert.Equal(AppendStatus.Appended, await putting);
        delays.Sort();
        TestContext.Current.TestOutputHelper?.WriteLine($"{delays.Count} appends meanwhile: median {delays[delays.Count / 2].TotalMilliseconds:F1} ms, 99 % {delays[delays.Count * 99 / 100].TotalMilliseconds:F1} ms, at most {delays[^1].TotalMilliseconds:F1} ms");
        Assert.InRange(delays.Count, 4, int.MaxValue);
    }

    public void Dispose() => directory.Dispose();
}
