using System.Globalization;
using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Storage.Tests;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>What of a blob lies in Redis when a put ended early, and what commands do that come late.</summary>
public class BlobTests
{
    static CancellationToken Stop => TestContext.Current.CancellationToken;

    static readonly ConversationKey Key = Samples.Key();

    static readonly string Tag = $"lc:{{default/{Key.Id}}}";

    static byte[] Version(byte number, int pieces = 3) => [.. Enumerable.Repeat(number, (pieces - 1) * BlobPieces.Size + 1)];

    static async Task PutAsync(IConversationStore store, long epoch, byte[] content) =>
        Assert.Equal(AppendStatus.Appended, await store.PutBlobAsync(Key, epoch, "state", new(content), Stop));

    static async Task<byte[]?> ReadAsync(IConversationStore store)
    {
        await using var stream = await store.ReadBlobAsync(Key, "state", Stop);
        if (stream is null) return null;
        byte[] content = new byte[stream.Length];
        await stream.ReadExactlyAsync(content, Stop);
        return content;
    }

    static async Task<long> NumberAsync(RedisServer server, params string[] command) => long.Parse(await server.ShellAsync(command), CultureInfo.InvariantCulture);

    static async Task<string> UploadAsync(RedisServer server) => $"{Tag}:blob:{(await server.ShellAsync("HGET", $"{Tag}:blobs", "state")).Split(':')[0]}";

    [Fact]
    public async Task Blob_CanBeReadInTheShellAndNeverExpires()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var owner = await Samples.StartAsync(store, Key);
        await PutAsync(store, owner.Epoch, "hello"u8.ToArray());
        string upload = await UploadAsync(server);
        Assert.Equal("0\nhello", await server.ShellAsync("HGETALL", upload));
        Assert.EndsWith(":5", await server.ShellAsync("HGET", $"{Tag}:blobs", "state"), StringComparison.Ordinal);
        Assert.Equal(-1, await NumberAsync(server, "PTTL", upload));

        await PutAsync(store, owner.Epoch, "again"u8.ToArray());
        Assert.Equal("closed\n1", await server.ShellAsync("HGETALL", upload));
        Assert.InRange(await NumberAsync(server, "PTTL", upload), 1, (long)ListingRepair.Patience.TotalMilliseconds);
    }

    [Fact]
    public async Task Put_ProcessDiesAtAnyCommand_OldOrNewIsThereAndTheRestExpires()
    {
        await using var server = await RedisServer.StartAsync("--appendfsync", "no");
        await using var store = await server.OpenAsync(o => o with { RepairInterval = TimeSpan.FromDays(1) });
        var owner = await Samples.StartAsync(store, Key);
        int deaths = 0;
        for (int command = 1; ; command++)
        {
            bool isWhole = true;
            foreach (bool carriedOut in new[] { false, true })
            {
                await PutAsync(store, owner.Epoch, Version(1));
                // The repair at start sends commands too, so the put may die earlier than at this one, never later.
                await using (var dying = await server.OpenAsync(o => o with { Pipeline = Faults.DieAt(command, carriedOut), RepairInterval = TimeSpan.FromDays(1) }))
                {
                    try
                    {
                        await PutAsync(dying, owner.Epoch, Version(2, 4));
                    }
                    catch (StoreException)
                    {
                        (isWhole, deaths) = (false, deaths + 1);
                    }
                }
                byte[] read = (await ReadAsync(store))!;
                Assert.Equal(read[0] == 1 ? Version(1) : Version(2, 4), read);
                if (isWhole) Assert.Equal(2, read[0]);
                string blob = await UploadAsync(server);
                foreach (string key in (await server.KeysAsync()).Where(k => k.StartsWith($"{Tag}:blob:", StringComparison.Ordinal) && k != blob))
                    Assert.InRange(await NumberAsync(server, "PTTL", key), 1, (long)ListingRepair.Patience.TotalMilliseconds);
            }
            if (isWhole) break;
        }
        Assert.True(deaths > 8, $"Only {deaths} deaths.");
    }

    [Fact]
    public async Task Put_EndsInTheMiddle_ItsPiecesGo()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        foreach (string end in new[] { "cancelled", "fenced", "conversation deleted" })
        {
            var owner = await store.AcquireAsync(Key, "test", Stop) ?? await Samples.StartAsync(store, Key);
            using CancellationTokenSource cancel = new();
            using HeldStoreContent held = new(Version(1));
            var putting = Task.Run(() => store.PutBlobAsync(Key, owner.Epoch, "state", held.Sequence, cancel.Token).AsTask(), Stop);
            await held.Reached;
            string upload = Assert.Single(await UploadsAsync());
            Assert.InRange(await NumberAsync(server, "HLEN", upload), 1, 2);
            if (end == "cancelled") await cancel.CancelAsync();
            else if (end == "fenced") await store.AcquireAsync(Key, "next", Stop);
            else Assert.True(await store.DeleteAsync(Key, Stop));
            held.Release();
            if (end == "cancelled") await Assert.ThrowsAnyAsync<OperationCanceledException>(() => putting);
            else Assert.Equal(end == "fenced" ? AppendStatus.Fenced : AppendStatus.Gone, await putting);
            Assert.Equal("closed\n1", await server.ShellAsync("HGETALL", upload));
            await server.ShellAsync("DEL", upload); // its time is over
        }

        async Task<string[]> UploadsAsync() => [.. (await server.KeysAsync()).Where(k => k.StartsWith($"{Tag}:blob:", StringComparison.Ordinal))];
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(9)]
    [InlineData(14)]
    public async Task EveryCommand_CarriedOutAgainLater_NoOlderBlobComesBack(int later)
    {
        await using var server = await RedisServer.StartAsync("--appendfsync", "no");
        await using var patient = await server.OpenAsync();
        var owner = await Samples.StartAsync(patient, Key);
        await using var store = await server.OpenAsync(o => o with { Pipeline = Faults.RepeatLater(later), RepairInterval = TimeSpan.FromDays(1) });
        for (byte version = 1; version <= 12; version++)
        {
            await PutAsync(store, owner.Epoch, Version(version, 1 + version % 3));
            Assert.Equal(Version(version, 1 + version % 3), await ReadAsync(patient));
            if (version % 4 != 0) continue;
            Assert.Equal(AppendStatus.Appended, await store.DeleteBlobAsync(Key, owner.Epoch, "state", Stop));
            for (int i = 0; i < 2 * later; i++) Assert.Null(await ReadAsync(store));
        }
    }

    [Fact]
    public async Task Put_AWholePutCarriedOutLate_ChangesNothing()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var owner = await Samples.StartAsync(store, Key);
        await PutAsync(store, owner.Epoch, "one"u8.ToArray());
        string first = await server.ShellAsync("HGET", $"{Tag}:blobs", "state"), upload = await UploadAsync(server);
        Assert.Equal(AppendStatus.Appended, await store.DeleteBlobAsync(Key, owner.Epoch, "state", Stop));

        await server.ShellAsync("EVAL", Scripts.AddPiece, "2", $"{Tag}:head", upload, $"{owner.Epoch}", "0", "one", "300000");
        Assert.Equal("lost", await server.ShellAsync("EVAL", Scripts.PutBlob, "3", $"{Tag}:head", $"{Tag}:blobs", upload, $"{owner.Epoch}", "state", first, "", "1", "300000"));
        Assert.Null(await ReadAsync(store));
    }

    [Fact]
    public async Task Put_ItsPiecesExpiredMeanwhile_IsRefusedAndMayBeSentAgain()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var owner = await Samples.StartAsync(store, Key);
        await PutAsync(store, owner.Epoch, Version(1));
        string before = await UploadAsync(server);
        using HeldStoreContent held = new(Version(2));
        var putting = Task.Run(() => store.PutBlobAsync(Key, owner.Epoch, "state", held.Sequence, Stop).AsTask(), Stop);
        await held.Reached;
        await server.ShellAsync("DEL", (await server.KeysAsync()).Single(k => k.StartsWith($"{Tag}:blob:", StringComparison.Ordinal) && k != before));
        held.Release();
        var failure = await Assert.ThrowsAsync<StoreException>(() => putting);
        Assert.True(failure.IsTransient);
        Assert.Contains("Put it again", failure.Message, StringComparison.Ordinal);
        Assert.Equal(Version(1), await ReadAsync(store));
        await PutAsync(store, owner.Epoch, Version(2));
        Assert.Equal(Version(2), await ReadAsync(store));
    }

    [Fact]
    public async Task Put_MemoryFull_TheOldOneStaysAndThePartIsFreed()
    {
        await using var server = await RedisServer.StartAsync("--maxmemory", "24mb", "--maxmemory-policy", "noeviction", "--appendfsync", "no");
        await using var store = await server.OpenAsync();
        var owner = await Samples.StartAsync(store, Key);
        await PutAsync(store, owner.Epoch, Version(1));
        var failure = await Assert.ThrowsAsync<StoreException>(() => PutAsync(store, owner.Epoch, Version(2, 40)));
        Assert.False(failure.IsTransient);
        Assert.Contains("memory is full", failure.Message, StringComparison.Ordinal);
        Assert.Equal(Version(1), await ReadAsync(store));
        await PutAsync(store, owner.Epoch, Version(3, 4));
        Assert.Equal(Version(3, 4), await ReadAsync(store));
    }

    /// <summary>A figure for whoever changes the size of a piece; no bound on time, which depends on the machine.</summary>
    [Fact]
    public async Task Append_WhileABigBlobIsPut_GetsInBetween()
    {
        await using var server = await RedisServer.StartAsync("--appendfsync", "everysec");
        await using var store = await server.OpenAsync();
        var owner = await Samples.StartAsync(store, Key);
        var other = await Samples.StartAsync(store, Samples.Key(2));
        await PutAsync(store, owner.Epoch, Version(1, 60)); // what is replaced is freed meanwhile
        byte[] big = Version(2, 100);
        var putting = Task.Run(() => PutAsync(store, owner.Epoch, big), Stop);
        List<TimeSpan> delays = [];
        for (long seq = 0; !putting.IsCompleted; seq++)
        {
            long start = TimeProvider.System.GetTimestamp();
            Assert.Equal(AppendStatus.Appended, (await store.AppendAsync(other.Key, Samples.Batch(other.Epoch, seq), Stop)).Status);
            delays.Add(TimeProvider.System.GetElapsedTime(start));
        }
        await putting;
        delays.Sort();
        TestContext.Current.TestOutputHelper?.WriteLine($"{delays.Count} appends meanwhile: median {delays[delays.Count / 2].TotalMilliseconds:F1} ms, 99 % {delays[delays.Count * 99 / 100].TotalMilliseconds:F1} ms, at most {delays[^1].TotalMilliseconds:F1} ms");
        Assert.InRange(delays.Count, 4, int.MaxValue);
    }
}
