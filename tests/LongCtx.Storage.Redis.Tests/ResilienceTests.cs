using LongCtx.Conversations.Storage;
using Polly.CircuitBreaker;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>What is repeated, what is not, and when Redis is left alone.</summary>
public class ResilienceTests
{
    static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ServerIsDown_CircuitOpens_AndClosesWhenItIsBack()
    {
        await using var server = await RedisServer.StartAsync();
        await using (var patient = await server.OpenAsync()) await Samples.StartAsync(patient, Samples.Key());
        await using var store = await server.OpenAsync(o => o with { AttemptTimeout = TimeSpan.FromMilliseconds(100), TotalTimeout = TimeSpan.FromSeconds(1) });
        await server.KillAsync();
        var failures = await Task.WhenAll(Enumerable.Range(0, 40).Select(_ => Assert.ThrowsAsync<StoreException>(async () => await store.FindAsync(Samples.Key(), Stop))));
        Assert.All(failures, f => Assert.True(f.IsTransient));
        Assert.Contains(failures, f => f.InnerException is BrokenCircuitException);

        await server.StartAgainAsync();
        StoredConversation? found = null;
        while (found is null)
        {
            try
            {
                found = await store.FindAsync(Samples.Key(), Stop);
            }
            catch (StoreException e) when (e.IsTransient)
            {
                await Task.Yield();
            }
        }
        Assert.Equal(Samples.Key(), found.Key);
    }

    [Fact]
    public async Task ErrorThatWillComeAgain_IsNotRepeated()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        await Samples.StartAsync(store, key);
        Assert.Null(await store.FindAsync(Samples.Key(2), Stop)); // the script is known from now on
        string head = $"lc:{{{RedisKeys.Member(key)}}}:head";
        await server.ShellAsync("SET", head, "something else");
        await server.ShellAsync("CONFIG", "RESETSTAT");
        var failure = await Assert.ThrowsAsync<StoreException>(async () => await store.FindAsync(key, Stop));
        Assert.False(failure.IsTransient);
        Assert.Contains("prefix", failure.Message, StringComparison.Ordinal);
        Assert.Contains("cmdstat_evalsha:calls=1,", await server.ShellAsync("INFO", "commandstats"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Fenced_IsAnAnswerAndNotRepeated()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        var owner = await Samples.StartAsync(store, key);
        await store.AppendAsync(key, Samples.Batch(owner.Epoch, 0), Stop);
        await server.ShellAsync("CONFIG", "RESETSTAT");
        Assert.Equal(AppendStatus.Fenced, (await store.AppendAsync(key, Samples.Batch(owner.Epoch - 1, 1), Stop)).Status);
        Assert.Contains("cmdstat_evalsha:calls=1,", await server.ShellAsync("INFO", "commandstats"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ScriptsWereForgotten_NobodyNotices()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync();
        var key = Samples.Key();
        var owner = await Samples.StartAsync(store, key);
        for (int seq = 0; seq < 5; seq++)
        {
            await server.ShellAsync("SCRIPT", "FLUSH");
            Assert.Equal(new(AppendStatus.Appended, seq + 1), await store.AppendAsync(key, Samples.Batch(owner.Epoch, seq, isLive: true), Stop));
        }
        Assert.Equal(5, (await store.ReadAsync(key, 0, 10, Stop)).Count);
    }

    [Fact]
    public async Task Cancelled_EndsAtOnce()
    {
        await using var server = await RedisServer.StartAsync();
        await using var store = await server.OpenAsync(o => o with { AttemptTimeout = TimeSpan.FromHours(1), TotalTimeout = TimeSpan.FromHours(1) });
        using CancellationTokenSource cancelled = new();
        server.Pause();
        var call = store.FindAsync(Samples.Key(), cancelled.Token).AsTask();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        server.Resume();
    }
}
