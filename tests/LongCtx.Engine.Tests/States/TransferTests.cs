using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.States;
using LongCtx.Engine.Tests.Files;

namespace LongCtx.Engine.Tests.States;

/// <summary>Saving and loading beside other work, in little memory, and when it goes wrong half-way.</summary>
public sealed class TransferTests : IAsyncLifetime
{
    const int BlockBytes = 266_240; // of pg19-7m
    static readonly AttentionPolicy Streaming = new(4, 1, 1, 512, 16);
    static readonly Dictionary<string, string> NoLabels = [];
    readonly TemporaryDirectory _directory = new();
    InferenceEngine _engine = null!;
    DecoderModel _model = null!;
    int[] _text = [];

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    string StatePath => _directory.File("state.safetensors");

    public ValueTask InitializeAsync() => StartAsync(blocks: 16);

    public async ValueTask DisposeAsync()
    {
        await _engine.DisposeAsync();
        _directory.Dispose();
    }

    async ValueTask StartAsync(int blocks)
    {
        if (_engine is not null) await _engine.DisposeAsync();
        _engine = new(new EngineOptions { Threads = 2, KvMemoryBytes = (long)blocks * BlockBytes, PrefillChunk = 16, UnreadTokensMax = 32 });
        _model = await _engine.LoadDecoderAsync(Repository.Pg19, "pg19-7m");
        _text = _model.Tokenizer.Encode(string.Concat(Enumerable.Repeat("The old man looked at the sea and said nothing. ", 100)));
    }

    async Task<Sequence> FedAsync(int tokens)
    {
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        await _engine.Submit(new() { Sequence = sequence, Tokens = _text.AsMemory(0, tokens), FeedOnly = true }).Completion;
        return sequence;
    }

    async Task SaveAsync(int tokens)
    {
        Sequence sequence = await FedAsync(tokens);
        await _engine.SaveAsync(sequence, StatePath, NoLabels, Cancellation);
        sequence.Drop();
    }

    Task<LoadedSequence> LoadAsync(CancellationToken? cancellation = null) => _engine.LoadSequenceAsync(_model, StatePath, Streaming, adapter: null, cancellation ?? Cancellation);

    Generation Generate(Sequence sequence, int[] tokens, int max, IReadOnlyList<int>? resumed = null) => _engine.Submit(new()
    {
        Sequence = sequence, Tokens = tokens, Resumed = resumed ?? [], MaxTokens = max, Sampling = new() { Temperature = 0.9f, Seed = 3 },
    });

    async Task<int> BlocksUsedAsync()
    {
        await _engine.BetweenSteps(() => 0); // behind everything that was posted
        return _engine.Status.BlocksUsed;
    }

    static async Task<List<int>> ReadAsync(Generation generation)
    {
        List<int> ids = [];
        await foreach (GeneratedToken token in generation.Tokens.ReadAllAsync(Cancellation)) ids.Add(token.Id);
        await generation.Completion;
        return ids;
    }

    [Fact]
    public async Task Save_OfAReplyThatGoesOn_IsOneInstantOfIt()
    {
        await StartAsync(blocks: 200);
        int[] prompt = _text[..300];
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        Task<List<int>> reply = ReadAsync(Generate(sequence, prompt, 700));
        List<string> paths = [];
        while (!reply.IsCompleted)
        {
            paths.Add(_directory.File($"{paths.Count}.safetensors"));
            await Task.WhenAll(_engine.SaveAsync(sequence, paths[^1], NoLabels, Cancellation), _engine.SaveAsync(sequence, Stream.Null, NoLabels, Cancellation));
        }

        List<int> ids = await reply;
        int inside = 0;
        foreach (string path in paths)
        {
            Sequence saved = (await _engine.LoadSequenceAsync(_model, path, Streaming, adapter: null, Cancellation)).Sequence;
            int generated = (int)saved.Count - prompt.Length;
            if (generated is > 0 and < 700)
            {
                inside++;
                List<int> rest = await ReadAsync(Generate(saved, [], Math.Min(700, generated + 30), ids[..generated]));
                Assert.True(ids.Skip(generated).Take(30).SequenceEqual(rest), $"saved after {generated} generated tokens");
            }

            saved.Drop();
        }

        Assert.True(inside > 1, $"{inside} of {paths.Count} states were saved while the reply went on");
        sequence.Drop();
        Assert.Equal(0, await BlocksUsedAsync());
    }

    [Fact]
    public async Task Load_WhileTheMemoryIsPromised_WaitsForTheReplyAndMakesIdleOnesGiveWay()
    {
        await SaveAsync(700); // 9 of 16 blocks
        Sequence idle = await FedAsync(100), running = _engine.CreateSequence(_model, Streaming);
        idle.Release();
        Generation paused = Generate(running, _text[..50], 1500); // may come to need 11
        Assert.True(await paused.Tokens.WaitToReadAsync(Cancellation));
        Task<LoadedSequence> load = LoadAsync();
        await _engine.BetweenSteps(() => 0);
        await _engine.BetweenSteps(() => 0);
        Assert.False(load.IsCompleted);
        Assert.False(idle.IsHeld); // that was not enough
        Sequence next = _engine.CreateSequence(_model, Streaming);
        Generation behind = Generate(next, _text[..10], 2); // would fit; who waits longer comes first
        await _engine.BetweenSteps(() => 0);
        Assert.Equal(0, behind.Tokens.Count);
        paused.Cancel();
        Assert.Equal(700, (await load).Sequence.Count);
        Assert.Equal(2, (await ReadAsync(behind)).Count);
        foreach (Sequence sequence in (Sequence[])[(await load).Sequence, running, next]) sequence.Drop();
        Assert.Equal(0, await BlocksUsedAsync());
    }

    [Fact]
    public async Task Load_ThatWaits_CanBeCancelled()
    {
        await SaveAsync(700);
        Sequence running = _engine.CreateSequence(_model, Streaming);
        Generation paused = Generate(running, _text[..50], 1500);
        Assert.True(await paused.Tokens.WaitToReadAsync(Cancellation));
        using var cancel = new CancellationTokenSource();
        Task<LoadedSequence> load = LoadAsync(cancel.Token);
        await _engine.BetweenSteps(() => 0);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => load);
        paused.Cancel();
        await paused.Completion;
        running.Drop();
        Assert.Equal(0, await BlocksUsedAsync());
    }

    [Fact]
    public async Task Load_WithoutRoom_SaysWhatIsMissing()
    {
        await SaveAsync(700);
        Sequence pinned = await FedAsync(600);
        Assert.Equal(ErrorCode.QueueFull, (await Assert.ThrowsAsync<LongCtxException>(() => LoadAsync())).Code);
        Assert.True(pinned.IsHeld);
        await StartAsync(blocks: 8);
        var tooSmall = await Assert.ThrowsAsync<LongCtxException>(() => LoadAsync());
        Assert.Equal(ErrorCode.InvalidRequest, tooSmall.Code);
        Assert.Contains("needs 9 KV blocks and the server has 8", tooSmall.Message);
    }

    [Fact]
    public async Task Save_OfARunningSequenceInATightPool_WaitsUntilItCanDoWithoutTheBlocks()
    {
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        Generation generation = Generate(sequence, _text[..600], 400); // holds 10 of 16 blocks and will let go of all but one
        Assert.True(await generation.Tokens.WaitToReadAsync(Cancellation));
        Task<SavedSequence> save = _engine.SaveAsync(sequence, StatePath, NoLabels, Cancellation);
        await _engine.BetweenSteps(() => 0);
        Assert.False(save.IsCompleted);
        Assert.Equal(400, (await ReadAsync(generation)).Count);
        Assert.Equal(1000, (await save).Tokens);
        sequence.Drop();
    }

    [Fact]
    public async Task Save_OfADroppedSequence_IsRefused()
    {
        Sequence sequence = await FedAsync(10);
        sequence.Drop();
        Assert.Contains("no longer in the cache", (await Assert.ThrowsAsync<LongCtxException>(() => _engine.SaveAsync(sequence, StatePath, NoLabels, Cancellation))).Message);
        Assert.Empty(Directory.GetFiles(_directory.Path));
    }

    [Fact]
    public async Task Save_ToWhereItCannotBe_NamesTheFileAndLeavesTheOldOne()
    {
        await SaveAsync(100);
        byte[] before = await File.ReadAllBytesAsync(StatePath, Cancellation);
        Sequence sequence = await FedAsync(200);
        string nowhere = _directory.File("no/such/directory");
        var missing = await Assert.ThrowsAsync<SequenceFileException>(() => _engine.SaveAsync(sequence, nowhere, NoLabels, Cancellation));
        Assert.Equal(nowhere, missing.File);
        using (FileStream other = new(StatePath + ".tmp", FileMode.Create, FileAccess.Write, FileShare.None)) // another save of the same path
            await Assert.ThrowsAsync<SequenceFileException>(() => _engine.SaveAsync(sequence, StatePath, NoLabels, Cancellation));
        using var cancel = new CancellationTokenSource();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _engine.SaveAsync(sequence, StatePath, NoLabels, cancel.Token));
        Assert.Equal(before, await File.ReadAllBytesAsync(StatePath, Cancellation));
        Assert.Equal([StatePath], Directory.GetFiles(_directory.Path));
        await _engine.SaveAsync(sequence, StatePath, NoLabels, Cancellation);
        Assert.Equal(200, (await LoadAsync()).Sequence.Count);
    }

    /// <summary>A disk that is full after so many writes.</summary>
    sealed class FullDisk(int writes, Func<Task>? atTheEnd = null) : MemoryStream
    {
        int _left = writes;

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_left-- > 0) return;
            if (atTheEnd is not null) await atTheEnd();
            throw new IOException("No space left on device");
        }
    }

    [Fact]
    public async Task Save_ThatFailsAtAnyWrite_GivesTheBlocksBack()
    {
        Sequence sequence = await FedAsync(300);
        using var whole = new MemoryStream();
        await _engine.SaveAsync(sequence, whole, NoLabels, Cancellation);
        int used = await BlocksUsedAsync(), failed = 0;
        for (int writes = 0; ; writes++)
        {
            try
            {
                await _engine.SaveAsync(sequence, new FullDisk(writes), NoLabels, Cancellation);
                break;
            }
            catch (IOException)
            {
                failed++;
            }

            Assert.Equal(used, await BlocksUsedAsync());
        }

        Assert.True(failed > 3);
        Assert.Equal(5, (await ReadAsync(Generate(sequence, _text[..1], 5))).Count);
        sequence.Drop();
        Assert.Equal(0, await BlocksUsedAsync());
    }

    [Fact]
    public async Task Dispose_InTheMiddleOfASave_EndsIt()
    {
        Sequence sequence = await FedAsync(300);
        Task stopped = Task.CompletedTask;
        var disk = new FullDisk(1, async () => await (stopped = _engine.DisposeAsync().AsTask()));
        await Assert.ThrowsAsync<IOException>(() => _engine.SaveAsync(sequence, disk, NoLabels, Cancellation));
        await stopped;
        var late = await Assert.ThrowsAsync<LongCtxException>(() => _engine.SaveAsync(sequence, Stream.Null, NoLabels, Cancellation));
        Assert.Equal(ErrorCode.ShuttingDown, late.Code);
    }

    [Fact]
    public async Task Dispose_WhileMuchIsUnderWay_EndsAllOfIt()
    {
        await StartAsync(blocks: 200);
        await SaveAsync(700);
        Sequence[] sequences = [await FedAsync(700), await FedAsync(650), await FedAsync(600)];
        List<Task> work = [];
        for (int i = 0; i < 30; i++)
        {
            work.Add(_engine.SaveAsync(sequences[i % 3], Stream.Null, NoLabels, Cancellation));
            work.Add(LoadAsync());
        }

        await work[0];
        await _engine.DisposeAsync();
        await Task.WhenAll(work).ContinueWith(_ => { }, Cancellation, TaskContinuationOptions.None, TaskScheduler.Default);
        Assert.All(work.Where(t => t.IsFaulted), t => Assert.Equal(ErrorCode.ShuttingDown, Assert.IsType<LongCtxException>(t.Exception!.InnerException).Code));
        Assert.Contains(work, t => t.IsFaulted);
    }

    [Fact]
    public async Task Save_InBlocksThatOthersHadBefore_HoldsNothingOfTheirs()
    {
        using MemoryStream fresh = new(), used = new();
        Sequence sequence = await FedAsync(70);
        await _engine.SaveAsync(sequence, fresh, NoLabels, Cancellation);
        await StartAsync(blocks: 6); // the one before leaves its numbers in them
        Sequence other = _engine.CreateSequence(_model, Streaming);
        await _engine.Submit(new() { Sequence = other, Tokens = _text.AsMemory(500, 200), FeedOnly = true }).Completion;
        other.Drop();
        sequence = await FedAsync(70);
        await _engine.SaveAsync(sequence, used, NoLabels, Cancellation);
        Assert.Equal(fresh.ToArray(), used.ToArray());
    }
}
