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
    public async Task StopText_ThatCutTokens_LeavesPenaltiesAsIfTheyHadNeverBeen()
    {
        int[] prompt = Encode(Prompt), next = Encode(" Then");
        GenerationResult free = await Run(prompt, 40);
        Sequence sequence = _engine.CreateSequence(_model, Streaming), fresh = _engine.CreateSequence(_model, Streaming);
        GenerationResult cut = await Read(Submit(sequence, prompt, 40, 0, 1, free.Text.Substring(free.Text.Length / 2, 12)));
        SamplingOptions penalties = new() { Temperature = 0, FrequencyPenalty = 2, PresencePenalty = 2, PenaltyWindow = cut.Ids.Count + next.Length };
        GenerationResult a = await Read(_engine.Submit(new() { Sequence = sequence, Tokens = next, MaxTokens = 20, Sampling = penalties }));
        GenerationResult b = await Read(_engine.Submit(new() { Sequence = fresh, Tokens = (int[])[.. prompt, .. cut.Ids, .. next], MaxTokens = 20, Sampling = penalties }));
        Assert.Equal(b.Ids, a.Ids);
        sequence.Drop();
        fresh.Drop();
    }

    [Fact]
    public async Task FeedOnly_ThenGenerate_EqualsOnePiece()
    {
        int[] prompt = Encode(string.Concat(Enumerable.Repeat(Prompt, 60))); // past the window
        GenerationResult whole = await Run(prompt, 20, 1);
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        GenerationResult fed = await Read(_engine.Submit(new() { Sequence = sequence, Tokens = prompt.AsMemory(0, prompt.Length - 3), FeedOnly = true, MaxTokens = 0 }));
        Assert.Equal((FinishReason.Length, "", 0, prompt.Length - 3), (fed.Reason, fed.Text, fed.CompletionTokens, fed.PromptTokens));
        Assert.Empty(fed.Ids);
        Assert.Equal((prompt.Length - 3, false), (sequence.Count, sequence.HasPending));
        Assert.Equal(whole.Ids, (await Read(Submit(sequence, prompt[^3..], 20, 1))).Ids);
        Generation nothing = _engine.Submit(new() { Sequence = sequence, Tokens = ReadOnlyMemory<int>.Empty, FeedOnly = true });
        await Assert.ThrowsAsync<LongCtxException>(() => nothing.Completion);
        sequence.Drop();
    }

    [Fact]
    public async Task FeedOnly_BesideAReply_GoesOnAndKeepsItsPendingToken()
    {
        int[] prompt = Encode(Prompt), more = Encode(string.Concat(Enumerable.Repeat(Prompt, 20)));
        Sequence sequence = _engine.CreateSequence(_model, Streaming), other = _engine.CreateSequence(_model, Streaming);
        Generation reply = Submit(other, prompt, 200, 1);
        GenerationResult first = await Read(Submit(sequence, prompt, 10)); // its last token is pending
        await Read(_engine.Submit(new() { Sequence = sequence, Tokens = more, FeedOnly = true }));
        Assert.Equal((await Run([.. prompt, .. first.Ids, .. more, .. prompt], 20)).Ids, (await Read(Submit(sequence, prompt, 20))).Ids);
        Assert.Equal((await Run(prompt, 200, 1)).Ids, (await Read(reply)).Ids);
        sequence.Drop();
        other.Drop();
    }

    [Fact]
    public async Task CancelOfAFeed_BetweenChunks_LeavesTheSequenceAsFarAsItGot()
    {
        await StartAsync(new EngineOptions { Threads = 2, KvMemoryBytes = 64 << 20, PrefillChunk = 16, StepTokensMax = 16 });
        int[] prompt = Encode(string.Concat(Enumerable.Repeat(Prompt, 400)));
        int[] turns = [.. Enumerable.Range(0, prompt.Length / 7).Select(i => 7 * i)];
        Sequence sequence = _engine.CreateSequence(_model, Streaming);
        Generation feed = _engine.Submit(new() { Sequence = sequence, Tokens = prompt, TurnStarts = turns, FeedOnly = true });
        while (sequence.Count == 0) await _engine.ReuseAsync(sequence, 0, ReadOnlyMemory<int>.Empty); // a round trip: between two steps
        feed.Cancel();
        GenerationResult cancelled = await Read(feed);
        Assert.Equal(FinishReason.Cancelled, cancelled.Reason);
        int count = (int)sequence.Count;
        Assert.Equal(count, cancelled.PromptTokens);
        Assert.InRange(count, 1, prompt.Length - 1);
        Assert.Equal(turns.Where(t => t < count).Select(t => (long)t).TakeLast(60), sequence.TurnStarts.TakeLast(60));
        int[] ahead = prompt[count..(count + 600)]; // no turn begins there, though one would have
        Sequence fresh = _engine.CreateSequence(_model, Streaming);
        await Read(_engine.Submit(new() { Sequence = fresh, Tokens = prompt.AsMemory(0, count), TurnStarts = [.. turns.Where(t => t < count)], FeedOnly = true }));
        Assert.Equal((await Read(Submit(fresh, ahead, 20, 1))).Ids, (await Read(Submit(sequence, ahead, 20, 1))).Ids);
        sequence.Drop();
        fresh.Drop();
    }

    [Fact]
    public async Task Cancel_OfTheOnlyReplyThatRuns_LetsTheNextOneIn()
    {
        await StartAsync(new EngineOptions { Threads = 1, KvMemoryBytes = 64 << 20, RunningMax = 1, UnreadTokensMax = 4 });
        Sequence paused = _engine.CreateSequence(_model, Streaming), waiting = _engine.CreateSequence(_model, Streaming);
        Generation first = Submit(paused, Encode(Prompt), 30, 1); // nobody reads: it pauses, and the engine with it
        while (first.Tokens.Count < 4) await _engine.ReuseAsync(paused, 0, ReadOnlyMemory<int>.Empty);
        Generation second = Submit(waiting, Encode(Prompt), 3, 1);
        await _engine.ReuseAsync(paused, 0, ReadOnlyMemory<int>.Empty); // it is in the queue
        first.Cancel();
        Assert.Equal(3, (await Read(second)).Ids.Count);
        paused.Drop();
        waiting.Drop();
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

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task SharedBlocks_OfAForkThatEvictsThem_AreNotCountedAsItsOwn(bool pinned)
    {
        // 16 blocks: the source holds 10, the fork shares them, lets go of them one by one and needs 10 of its own.
        await StartAsync(new EngineOptions { Threads = 2, KvMemoryBytes = 16 * 266_240, PrefillChunk = 16 });
        Sequence source = _engine.CreateSequence(_model, Streaming);
        GenerationResult first = await Read(Submit(source, Encode(Prompt), 700, 1));
        int[] all = [.. Encode(Prompt), .. first.Ids];
        Sequence? fork = await _engine.ReuseAsync(source, all.Length - 1, all.AsMemory(0, all.Length - 1));
        Assert.NotNull(fork);
        if (!pinned) source.Release();
        Generation generation = Submit(fork, [all[^1]], 700, 1);
        if (pinned) Assert.Equal(ErrorCode.QueueFull, (await Assert.ThrowsAsync<LongCtxException>(() => generation.Completion)).Code);
        else Assert.Equal(700, (await Read(generation)).Ids.Count);
        Assert.Equal(pinned, source.IsHeld);
        source.Drop();
        fork.Drop();
    }

    [Fact]
    public async Task ReuseOfARunningSequence_ThatWouldTakeItsRoom_IsRefusedAndTheReplyEnds()
    {
        await StartAsync(new EngineOptions { Threads = 2, KvMemoryBytes = 16 * 266_240, PrefillChunk = 16, UnreadTokensMax = 64 });
        Sequence source = _engine.CreateSequence(_model, Streaming);
        Generation generation = Submit(source, Encode(Prompt), 1500, 1);
        for (int i = 0; i < 700; i++) await generation.Tokens.ReadAsync(TestContext.Current.CancellationToken);
        // It pauses at 764 tokens at the latest, so that the reuse meets it running.
        Assert.Null(await _engine.ReuseAsync(source, 700, new int[700]));
        Assert.True(generation.Completion.Status != TaskStatus.RanToCompletion);
        await foreach (GeneratedToken token in generation.Tokens.ReadAllAsync(TestContext.Current.CancellationToken)) Assert.True(token.Id >= 0);
        Assert.Equal(1500, (await generation.Completion).Ids.Count);
        source.Drop();
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
