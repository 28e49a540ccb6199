using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Engine.Tests.Scheduling;

/// <summary>The engine as its callers see it, with the real pg19-7m.</summary>
public sealed class InferenceEngineTests : IAsyncLifetime
{
    const string Prompt = "The old man looked at the sea and said nothing. ";
    static readonly AttentionPolicy Streaming = new(4, 1, 1, 512, 16);
    InferenceEngine _engine = null!;
    DecoderModel _model = null!;

    public ValueTask InitializeAsync() => StartAsync(new EngineOptions { Threads = 2, KvMemoryBytes = 64 << 20 });

    public ValueTask DisposeAsync() => _engine.DisposeAsync();

    async ValueTask StartAsync(EngineOptions options)
    {
        if (_engine is not null) await _engine.DisposeAsync();
        _engine = new(options);
        _model = await _engine.LoadDecoderAsync(Repository.Pg19, "pg19-7m");
    }

    int[] Encode(string text) => _model.Tokenizer.Encode(text);

    Generation Submit(Sequence sequence, int[] tokens, int max = 40, float temperature = 0, ulong seed = 1, params string[] stops) => _engine.Submit(new()
    {
        Sequence = sequence,
        Tokens = tokens,
        MaxTokens = max,
        Sampling = new() { Temperature = temperature, Seed = seed },
        StopTexts = stops,
    });

    async Task<GenerationResult> Run(int[] tokens, int max = 40, float temperature = 0, ulong seed = 1, params string[] stops)
    {
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        GenerationResult result = await Read(Submit(sequence, tokens, max, temperature, seed, stops));
        sequence.Drop();
        return result;
    }

    static async Task<GenerationResult> Read(Generation generation)
    {
        string text = "";
        await foreach (GeneratedToken token in generation.Tokens.ReadAllAsync()) text += token.Text;
        GenerationResult result = await generation.Completion;
        Assert.Equal(result.Text, text);
        return result;
    }

    [Fact]
    public async Task Generate_AloneOrInACrowd_GivesTheSameTokens()
    {
        string[] prompts = [.. Enumerable.Range(0, 12).Select(i => string.Concat(Enumerable.Repeat(Prompt, 1 + i * i / 2)) + "Then number " + i)];
        var alone = new List<GenerationResult>();
        foreach (string prompt in prompts) alone.Add(await Run(Encode(prompt), 60, 0.8f, 5));
        GenerationResult[] crowd = await Task.WhenAll(prompts.Select(p => Run(Encode(p), 60, 0.8f, 5)));
        for (int i = 0; i < prompts.Length; i++) Assert.Equal(alone[i].Ids, crowd[i].Ids);
        Assert.Equal(0, _engine.Status.Running);
    }

    [Fact]
    public async Task Generate_FarPastTheWindow_KeepsItsMemoryAndTellsWhatLeft()
    {
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        GenerationResult result = await Read(Submit(sequence, Encode(Prompt), 1500, 1));
        Assert.Equal(FinishReason.Length, result.Reason);
        Assert.Equal(1500, result.Ids.Count);
        Assert.True(result.EvictedTokens >= 950, $"{result.EvictedTokens} evicted");
        Assert.InRange(result.Window.Visible, 400, 512);
        Assert.InRange(_engine.Status.BlocksUsed, 1, Admission.BlocksMax(Streaming, 10_000, 256));
        sequence.Drop();
    }

    [Fact]
    public async Task Submit_OfTheNextTurn_ContinuesTheSequence()
    {
        int[] first = Encode(Prompt), second = Encode(" And then ");
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        GenerationResult a = await Read(Submit(sequence, first, 20));
        GenerationResult b = await Read(Submit(sequence, second, 20));
        Assert.Equal(first.Length + second.Length + 40, sequence.Count);
        GenerationResult whole = await Run([.. first, .. a.Ids, .. second], 20);
        Assert.Equal(whole.Ids, b.Ids);
        sequence.Drop();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(30)]
    public async Task Reuse_OfABeginning_GoesOnLikeAFreshSequence(int cut)
    {
        int[] tokens = Encode(Prompt + Prompt);
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        GenerationResult a = await Read(Submit(sequence, tokens, 30));
        int[] all = [.. tokens, .. a.Ids];
        int length = all.Length - cut;
        Sequence? reused = await _engine.ReuseAsync(sequence, length, all.AsMemory(0, length));
        Assert.NotNull(reused);
        Assert.Equal(length, reused.Count);
        int[] tail = Encode(" But the captain");
        GenerationResult b = await Read(Submit(reused, tail, 25));
        GenerationResult fresh = await Run([.. all[..length], .. tail], 25);
        Assert.Equal(fresh.Ids, b.Ids);
        GenerationResult c = await Read(Submit(sequence, tail, 25)); // the source is as it was
        Assert.Equal((await Run([.. all, .. tail], 25)).Ids, c.Ids);
        reused.Drop();
        sequence.Drop();
    }

    [Fact]
    public async Task Reuse_AcrossWhatHasLeftTheWindow_IsRefused()
    {
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        await Read(Submit(sequence, Encode(Prompt), 900, 1));
        Assert.Null(await _engine.ReuseAsync(sequence, 100, new int[100]));
        sequence.Drop();
    }

    [Fact]
    public async Task StopText_InsideATokensText_LeavesOnlyWhatTheReplyShows()
    {
        GenerationResult free = await Run(Encode(Prompt), 40);
        string stop = free.Text.Substring(free.Text.Length / 2, 3);
        int at = free.Text.IndexOf(stop, StringComparison.Ordinal);
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        GenerationResult cut = await Read(Submit(sequence, Encode(Prompt), 40, 0, 1, stop));
        Assert.Equal(FinishReason.Stop, cut.Reason);
        Assert.Equal(free.Text[..at], cut.Text);
        Assert.Equal(cut.Text, _model.Tokenizer.Decode([.. cut.Ids], false) + cut.TextBeyond);
        Assert.Equal(Encode(Prompt).Length + cut.Ids.Count, sequence.Count);
        sequence.Drop();
    }

    [Fact]
    public async Task Cancel_WhileGenerating_EndsWithWhatThereIs()
    {
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        Generation generation = Submit(sequence, Encode(Prompt), int.MaxValue, 1);
        int seen = 0;
        await foreach (GeneratedToken token in generation.Tokens.ReadAllAsync(TestContext.Current.CancellationToken))
            if (++seen == 10) generation.Cancel();
        GenerationResult result = await generation.Completion;
        Assert.Equal(FinishReason.Cancelled, result.Reason);
        Assert.True(result.Ids.Count >= 10);
        Assert.Equal(Encode(Prompt).Length + result.Ids.Count, sequence.Count);
        sequence.Drop();
    }

    [Fact]
    public async Task SlowReader_PausesItsOwnSequenceOnly()
    {
        await StartAsync(new EngineOptions { Threads = 1, KvMemoryBytes = 64 << 20, UnreadTokensMax = 4 });
        Sequence slow = _engine.CreateSequence(_model, Streaming);
        Generation unread = Submit(slow, Encode(Prompt), 30, 1);
        GenerationResult other = await Run(Encode(Prompt), 200, 1);
        Assert.Equal(200, other.Ids.Count);
        Assert.False(unread.Completion.IsCompleted);
        Assert.Equal(4, unread.Tokens.Count);
        Assert.Equal(30, (await Read(unread)).Ids.Count);
        slow.Drop();
    }

    [Fact]
    public async Task FullQueue_RefusesAndServesTheOthers()
    {
        await StartAsync(new EngineOptions { Threads = 1, KvMemoryBytes = 64 << 20, RunningMax = 2, QueueMax = 3 });
        var accepted = new List<(Sequence Sequence, Generation Generation)>();
        LongCtxException? refusal = null;
        for (int i = 0; i < 12 && refusal is null; i++)
        {
            Sequence sequence = _engine.CreateSequence(_model, Streaming);
            try
            {
                accepted.Add((sequence, Submit(sequence, Encode(Prompt), 300, 1)));
            }
            catch (LongCtxException e)
            {
                refusal = e;
            }
        }

        Assert.Equal(ErrorCode.QueueFull, refusal?.Code);
        Assert.NotNull(refusal!.RetryAfter);
        Assert.True(accepted.Count >= 3);
        foreach ((_, Generation generation) in accepted) Assert.Equal(300, (await Read(generation)).Ids.Count);
    }

    [Fact]
    public async Task SmallPool_MakesIdleSequencesGiveWayAndLeaksNoBlock()
    {
        const int seed = 42;
        await StartAsync(new EngineOptions { Threads = 2, KvMemoryBytes = 8 << 20 }); // a few sequences of this window
        var random = new Random(seed);
        var idle = new List<Sequence>();
        for (int i = 0; i < 40; i++)
        {
            Sequence sequence = idle.Count > 0 && random.Next(2) == 0 && idle[random.Next(idle.Count)] is { IsHeld: true } old
                && await _engine.ReuseAsync(old, old.Count, ReadOnlyMemory<int>.Empty) is { } reused ? reused : _engine.CreateSequence(_model, Streaming);
            GenerationResult result = await Read(Submit(sequence, Encode(Prompt), random.Next(1, 120), 1, (ulong)i));
            Assert.True(result.Ids.Count > 0, $"seed {seed}, request {i}");
            sequence.Release();
            if (!idle.Contains(sequence)) idle.Add(sequence);
        }

        Assert.Contains(idle, s => !s.IsHeld);
        foreach (Sequence sequence in idle) sequence.Drop();
        await _engine.ReuseAsync(idle[0], 1, ReadOnlyMemory<int>.Empty); // a round trip: the drops are done
        Assert.Equal(0, _engine.Status.BlocksUsed);
    }

    [Fact]
    public async Task Submit_PastTheBound_IsRefusedAndGrowthEndsThere()
    {
        var full = new AttentionPolicy(0, 1, 1, 0, 1);
        Sequence sequence = _engine.CreateSequence(_model, full);
        var e = Assert.Throws<LongCtxException>(() => Submit(sequence, new int[513]));
        Assert.Equal(ErrorCode.ContextLengthExceeded, e.Code);
        Assert.Contains("512", e.Message);
        GenerationResult result = await Read(Submit(sequence, [.. Enumerable.Repeat(300, 500)], 100, 1));
        Assert.Equal(FinishReason.Length, result.Reason);
        Assert.Equal(512, sequence.Count);
        sequence.Drop();
    }

    [Fact]
    public async Task Dispose_WhileGenerating_EndsTheReplyWithShuttingDown()
    {
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        Generation generation = Submit(sequence, Encode(Prompt), int.MaxValue, 1);
        Assert.True(await generation.Tokens.WaitToReadAsync(TestContext.Current.CancellationToken));
        await _engine.DisposeAsync();
        var e = await Assert.ThrowsAsync<LongCtxException>(() => generation.Completion);
        Assert.Equal(ErrorCode.ShuttingDown, e.Code);
        Assert.Throws<LongCtxException>(() => Submit(sequence, Encode(Prompt)));
    }

    [Fact]
    public void CreateSequence_WithAPolicyBeyondTheModel_IsRefused() =>
        Assert.Contains("512", Assert.Throws<LongCtxException>(() => _engine.CreateSequence(_model, new(4, 1, 1, 600, 16))).Message);
}
