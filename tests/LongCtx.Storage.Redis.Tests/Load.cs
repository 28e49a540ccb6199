using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>
/// Writers of several conversations that go on through every passing failure, as the host does: the same batch is sent until it is answered.
/// Knows what was acknowledged.
/// </summary>
internal sealed class Load(IConversationStore store, int conversations)
{
    readonly long[] acknowledged = new long[conversations];
    readonly List<(long Count, TaskCompletionSource Reached)> waiting = [];
    long total;
    int failures;

    static CancellationToken Stop => TestContext.Current.CancellationToken;

    /// <summary>Ends with the last append.</summary>
    public Task Running { get; private set; } = Task.CompletedTask;

    /// <summary>Calls that failed.</summary>
    public int Failures => Volatile.Read(ref failures);

    /// <summary>Returns when all conversations are there.</summary>
    public async Task StartAsync(IConversationStore patient, int appends)
    {
        var owners = await Task.WhenAll(Enumerable.Range(0, conversations).Select(c => Samples.StartAsync(patient, Samples.Key(c))));
        Running = Task.WhenAll(owners.Select((owner, c) => Task.Run(() => WriteAsync(c, owner, appends))));
    }

    /// <summary>Returns when so many more appends of all conversations have been acknowledged, or all have.</summary>
    public async Task AdvanceAsync(int count)
    {
        TaskCompletionSource reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (waiting) waiting.Add((total + count, reached));
        await await Task.WhenAny(Running, reached.Task);
    }

    async Task WriteAsync(int conversation, StoredConversation owner, int appends)
    {
        var key = Samples.Key(conversation);
        for (long seq = 0; seq < appends; seq++)
        {
            var batch = Samples.Batch(owner.Epoch, seq, isLive: seq % 3 == 0);
            Assert.Equal(new(AppendStatus.Appended, seq + 1), await UntilAnsweredAsync(batch, key));
            acknowledged[conversation] = seq + 1;
            Count();
        }
    }

    async Task<AppendResult> UntilAnsweredAsync(AppendBatch batch, ConversationKey key)
    {
        while (true)
        {
            try
            {
                return await store.AppendAsync(key, batch, Stop);
            }
            catch (StoreException e) when (e.IsTransient)
            {
                Interlocked.Increment(ref failures);
                await Task.Yield();
            }
        }
    }

    void Count()
    {
        lock (waiting)
        {
            total++;
            foreach (var (_, reached) in waiting.Where(w => w.Count <= total)) reached.TrySetResult();
        }
    }

    /// <summary>Everything acknowledged is there, once, and nothing else.</summary>
    public async Task AssertStoredAsync(IConversationStore reader)
    {
        for (int c = 0; c < conversations; c++)
        {
            var key = Samples.Key(c);
            Assert.Equal(acknowledged[c], (await reader.FindAsync(key, Stop))!.Seq);
            var expected = Enumerable.Range(0, (int)acknowledged[c]).SelectMany(seq => Samples.Batch(0, seq).Events).Select(Samples.Text);
            Assert.Equal(expected, (await reader.ReadAsync(key, 0, int.MaxValue, Stop)).Select(Samples.Text));
        }
        Assert.Equal(conversations, await reader.CountAsync(Samples.Key().Tenant, Stop));
    }
}
