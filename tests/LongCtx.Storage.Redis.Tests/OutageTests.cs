using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>A real server that is killed, frozen, cut off, or replaced by an empty one.</summary>
public class OutageTests
{
    static CancellationToken Stop => TestContext.Current.CancellationToken;

    /// <summary>Gives up so fast that the caller sees failures, not only a slow answer.</summary>
    static RedisStoreOptions Impatient(RedisStoreOptions options) =>
        options with { AttemptTimeout = TimeSpan.FromMilliseconds(100), TotalTimeout = TimeSpan.FromMilliseconds(300) };

    [Fact]
    public async Task KilledAndStartedAgain_SyncedAlways_NothingAcknowledgedIsLost()
    {
        int seed = Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var random = new Random(seed);
        await using var server = await RedisServer.StartAsync();
        await using var patient = await server.OpenAsync();
        await using var store = await server.OpenAsync(Impatient);
        Load load = new(store, 8);
        await load.StartAsync(patient, 150);
        for (int kill = 1; kill <= 3; kill++)
        {
            await load.AdvanceAsync(random.Next(1, 300));
            await server.KillAsync();
            await server.StartAgainAsync();
        }
        await load.Running;
        await load.AssertStoredAsync(patient);
    }

    [Fact]
    public async Task ConnectionsKilledInMidLoad_EveryAppendIsStoredOnce()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        Load load = new(store, 8);
        await load.StartAsync(store, 150);
        int kills = 0;
        while (!load.Running.IsCompleted)
        {
            await load.AdvanceAsync(100);
            if (await server.ShellAsync("CLIENT", "KILL", "TYPE", "normal") != "0") kills++;
        }
        await load.Running;
        Assert.True(kills > 3, $"Only {kills} kills.");
        await load.AssertStoredAsync(store);
    }

    [Fact]
    public async Task Frozen_EveryCallTimesOutAsTransient_AndNothingIsDoubledAfterwards()
    {
        await using var server = await RedisServer.StartAsync();
        await using var patient = await server.OpenAsync();
        await using var store = await server.OpenAsync(Impatient);
        var key = Samples.Key();
        var owner = await Samples.StartAsync(patient, key);
        await patient.AppendAsync(key, Samples.Batch(owner.Epoch, 0), Stop);
        var batch = Samples.Batch(owner.Epoch, 1, isLive: true);
        Func<Task>[] calls =
        [
            async () => await store.AppendAsync(key, batch, Stop),
            async () => await store.CreateAsync(Samples.Key(2), Samples.Seed, Stop),
            async () => await store.SetMetadataAsync(key, new Dictionary<string, string>(), Stop),
            async () => await store.TrimAsync(key, owner.Epoch, 0, Stop),
            async () => await store.FindAsync(key, Stop),
            async () => await store.AcquireAsync(key, "other", Stop),
            async () => await store.ReadAsync(key, 0, 10, Stop),
            async () => await store.ListLiveAsync(Stop),
            async () => await store.CountAsync(key.Tenant, Stop),
            async () => await store.PutBlobAsync(key, owner.Epoch, "state", new([1]), Stop),
            async () => await store.ReadBlobAsync(key, "state", Stop),
            async () => await store.DeleteBlobAsync(key, owner.Epoch, "state", Stop),
        ];
        server.Pause();
        foreach (var call in calls)
        {
            var failure = await Assert.ThrowsAsync<StoreException>(call);
            Assert.True(failure.IsTransient, failure.Message);
            Assert.Contains($"127.0.0.1:{server.Port}", failure.Message, StringComparison.Ordinal);
        }
        server.Resume();

        // What was sent meanwhile is carried out now, in any mixture with this.
        Assert.Equal(new(AppendStatus.Appended, 2), await patient.AppendAsync(key, batch, Stop));
        Assert.Equal([1, 2], (await patient.ReadAsync(key, 0, 10, Stop)).Select(e => e.Seq));
        Assert.Equal(owner.Epoch, (await patient.FindAsync(key, Stop))!.Epoch);
        Assert.Equal([key], await patient.ListLiveAsync(Stop));
        await patient.CreateAsync(Samples.Key(2), Samples.Seed, Stop);
        Assert.Equal(2, await patient.CountAsync(key.Tenant, Stop));
    }

    [Fact]
    public async Task FrozenForAMoment_PatientCallers_NoticeNothing()
    {
        await using var server = await RedisServer.StartAsync("--enable-debug-command", "yes");
        await using var store = await server.OpenAsync(o => o with { AttemptTimeout = TimeSpan.FromMilliseconds(200), TotalTimeout = TimeSpan.FromMinutes(1) });
        Load load = new(store, 4);
        await load.StartAsync(store, 200);
        await load.AdvanceAsync(100);
        Assert.Equal("OK", await server.ShellAsync("DEBUG", "SLEEP", "0.5"));
        await load.Running;
        Assert.Equal(0, load.Failures);
        await load.AssertStoredAsync(store);
    }

    [Fact]
    public async Task FailedOverToAnEmptyServer_NothingIsAcceptedSilently()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        var owner = await Samples.StartAsync(store, key);
        for (int seq = 0; seq < 5; seq++) await store.AppendAsync(key, Samples.Batch(owner.Epoch, seq, isLive: true), Stop);
        await server.KillAsync();
        server.RemoveFiles();
        await server.StartAgainAsync();

        Assert.Null(await store.FindAsync(key, Stop));
        Assert.Equal(new(AppendStatus.Gone, 0), await store.AppendAsync(key, Samples.Batch(owner.Epoch, 5), Stop));
        Assert.Null(await store.AcquireAsync(key, "next", Stop));
        Assert.Empty(await store.ListLiveAsync(Stop));
        Assert.Empty(await store.ReadAsync(key, 0, 10, Stop));
        // The same id made anew, as with an idempotency key: the owner of the old one has no part in it.
        var next = await Samples.StartAsync(store, key);
        Assert.True(next.Epoch > owner.Epoch);
        Assert.Equal(AppendStatus.Fenced, (await store.AppendAsync(key, Samples.Batch(owner.Epoch, 5), Stop)).Status);
        Assert.Equal(AppendStatus.Fenced, (await store.AppendAsync(key, Samples.Batch(owner.Epoch, 0), Stop)).Status);
    }

    [Fact]
    public async Task FailedOverToAnOlderState_TheOwnerIsToldAndTheJournalStaysWhole()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        var owner = await Samples.StartAsync(store, key);
        for (int seq = 0; seq < 3; seq++) await store.AppendAsync(key, Samples.Batch(owner.Epoch, seq), Stop);
        server.SaveFiles();
        var lost = Samples.Batch(owner.Epoch, 3, events: 2);
        Assert.Equal(new(AppendStatus.Appended, 5), await store.AppendAsync(key, lost, Stop));
        await server.KillAsync();
        server.RestoreFiles();
        await server.StartAgainAsync();

        Assert.Equal(new(AppendStatus.Conflict, 3), await store.AppendAsync(key, Samples.Batch(owner.Epoch, 5), Stop));
        Assert.Equal([1, 2, 3], (await store.ReadAsync(key, 0, 10, Stop)).Select(e => e.Seq));
        Assert.Equal(3, (await store.AcquireAsync(key, "next", Stop))!.Seq);
    }

    [Fact]
    public async Task TurnedIntoAReplica_WritesFailAsTransient_UntilItIsPromoted()
    {
        await using var server = await RedisServer.StartAsync();
        await using var patient = await server.OpenAsync();
        await using var store = await server.OpenAsync(Impatient);
        var key = Samples.Key();
        var owner = await Samples.StartAsync(patient, key);
        await server.ShellAsync("REPLICAOF", "127.0.0.1", "1");
        var batch = Samples.Batch(owner.Epoch, 0);
        Assert.True((await Assert.ThrowsAsync<StoreException>(async () => await store.AppendAsync(key, batch, Stop))).IsTransient);
        await server.ShellAsync("REPLICAOF", "NO", "ONE");
        Assert.Equal(new(AppendStatus.Appended, 1), await patient.AppendAsync(key, batch, Stop));
    }

    [Fact]
    public async Task NoReplica_WhereOneIsRequired_IsTransientAndNothingIsWritten()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        var owner = await Samples.StartAsync(store, key);
        await server.ShellAsync("CONFIG", "SET", "min-replicas-to-write", "1");
        var failure = await Assert.ThrowsAsync<StoreException>(async () => await store.AppendAsync(key, Samples.Batch(owner.Epoch, 0), Stop));
        Assert.True(failure.IsTransient);
        Assert.Contains("replica", failure.Message, StringComparison.Ordinal);
        Assert.Equal(0, (await store.FindAsync(key, Stop))!.Seq);
        Assert.Empty(await store.ReadAsync(key, 0, 10, Stop));
    }

    [Fact]
    public async Task MemoryFull_IsNotTransientAndNothingIsWritten()
    {
        await using var server = await RedisServer.StartAsync("--maxmemory", "8mb", "--maxmemory-policy", "noeviction");
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        var owner = await Samples.StartAsync(store, key);
        string body = new('x', 1_000_000);
        long seq = 0;
        StoreException? failure = null;
        while (failure is null && seq < 100)
        {
            try
            {
                var batch = Samples.Batch(owner.Epoch, seq);
                await store.AppendAsync(key, batch with { Events = [batch.Events[0] with { Body = body }] }, Stop);
                seq++;
            }
            catch (StoreException e)
            {
                failure = e;
            }
        }
        Assert.False(failure!.IsTransient, failure.Message);
        Assert.Contains("maxmemory", failure.Message, StringComparison.Ordinal);
        Assert.Equal(seq, (await store.FindAsync(key, Stop))!.Seq);
        Assert.Equal(seq, (await store.ReadAsync(key, 0, 1000, Stop)).Count);
        // Deleting is what makes room.
        Assert.True(await store.DeleteAsync(key, Stop));
        Assert.Equal(1, (await Samples.StartAsync(store, Samples.Key(2))).FirstSeq);
    }

    [Fact]
    public async Task DownAtStart_IsTransientAndSaysWhere()
    {
        await using var server = await RedisServer.StartAsync();
        await server.KillAsync();
        var failure = await Assert.ThrowsAsync<StoreException>(() => server.OpenAsync(o => o with { Configuration = o.Configuration + ",connectTimeout=500,connectRetry=1" }));
        Assert.True(failure.IsTransient);
        Assert.Contains($"127.0.0.1:{server.Port}", failure.Message, StringComparison.Ordinal);
    }
}
