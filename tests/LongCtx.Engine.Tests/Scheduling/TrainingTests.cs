using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Training;

namespace LongCtx.Engine.Tests.Scheduling;

/// <summary>Learning beside replies, with the real pg19-7m: what is learned, when it is used, and that nobody else notices.</summary>
public sealed class TrainingTests : IAsyncLifetime
{
    const string Prompt = "The old man looked at the sea and said nothing. ";
    static readonly AttentionPolicy Whole = new(0, 1, 1, 0, 1);

    readonly InferenceEngine _engine = new(new EngineOptions { Threads = 2, KvMemoryBytes = 64 << 20, TrainingSlice = TimeSpan.FromMilliseconds(2) });
    DecoderModel _model = null!;
    int[] _text = null!;

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _model = await _engine.LoadDecoderAsync(Repository.Pg19, "pg19-7m");
        _text = [.. _model.Tokenizer.Encode(string.Concat(Enumerable.Range(0, 40).Select(i => $"{Prompt}Then came wave number {i}. "))).Take(400)];
    }

    public ValueTask DisposeAsync() => _engine.DisposeAsync();

    LoraState Fresh() => LoraState.Create(new(_model.Config, 4, 8, LoraTargets.All), 1);

    TrainingRequest Request(LoraState? state = null, string tenant = "a") => new(_model, tenant, state ?? Fresh(), new(_text.AsMemory(0, 192), 128), new() { LearningRate = 5e-3, WarmUpChunks = 1 });

    Generation Reply(Sequence sequence, int[] tokens, int max = 120) => _engine.Submit(new() { Sequence = sequence, Tokens = tokens, MaxTokens = max, Sampling = new() { Temperature = 0.8f, Seed = 3 } });

    static async Task<IReadOnlyList<int>> EndAsync(Generation generation)
    {
        await foreach (GeneratedToken _ in generation.Tokens.ReadAllAsync(Cancellation))
        {
        }

        return (await generation.Completion).Ids;
    }

    async Task<LoraWeights> LearnAsync() => (await _engine.TrainAsync(Request(), Cancellation)).Result.State!.Weights;

    [Fact]
    public async Task Replies_AreTheSameBits_WhileAnotherLearns()
    {
        int[] prompt = _model.Tokenizer.Encode(Prompt);
        IReadOnlyList<int> alone = await EndAsync(Reply(_engine.CreateSequence(_model, Whole), prompt));
        Task<TrainingOutcome> learning = _engine.TrainAsync(Request(), Cancellation);
        Generation beside = Reply(_engine.CreateSequence(_model, Whole), prompt);
        Assert.Equal(alone, await EndAsync(beside));
        TrainingOutcome outcome = await learning;
        Assert.True(outcome.Result.Losses[^1] < outcome.Result.Losses[0]);
        Assert.InRange(outcome.Seconds, 1e-4, 60);
        Assert.Equal((await _engine.TrainAsync(Request(), Cancellation)).Result.State!.Weights.Digest, outcome.Result.State!.Weights.Digest); // however it was sliced
    }

    /// <summary>Announced, held, released while it runs: the same as if the change had been known from the beginning.</summary>
    [Fact]
    public async Task AVersion_IsUsedFromTheTokenThatWasNamed()
    {
        LoraWeights weights = await LearnAsync();
        int[] prompt = _model.Tokenizer.Encode(Prompt);
        Sequence live = _engine.CreateSequence(_model, Whole);
        Generation reply = Reply(live, prompt);
        await reply.Tokens.WaitToReadAsync(Cancellation);
        long at = await live.HoldAdapterAsync(ahead: 5);
        Assert.InRange(at, prompt.Length, prompt.Length + 119);
        var read = new List<GeneratedToken>();
        while (prompt.Length + read.Count <= at) // the token at the named place is drawn, and not computed before the release
        {
            await reply.Tokens.WaitToReadAsync(Cancellation);
            while (reply.Tokens.TryRead(out GeneratedToken token)) read.Add(token);
        }

        Assert.Equal(at, prompt.Length + read.Count - 1);
        live.ReleaseAdapter(at, weights);
        await EndAsync(reply);

        Sequence planned = _engine.CreateSequence(_model, Whole);
        planned.SetAdapters(null, [new(at, weights)]);
        IReadOnlyList<int> expected = await EndAsync(Reply(planned, prompt)), actual = (await reply.Completion).Ids;
        Assert.Equal(expected, actual);
        Assert.Equal(weights.Digest, live.AdapterDigest);
        Sequence never = _engine.CreateSequence(_model, Whole);
        Assert.NotEqual(expected, await EndAsync(Reply(never, prompt)));

        // Fed at once, as after a crash: a chunk of the prompt ends where the version changes. Draws go by position, so the rest comes out again.
        Sequence replayed = _engine.CreateSequence(_model, Whole);
        replayed.SetAdapters(null, [new(at, weights)]);
        Assert.Equal(expected.Skip(100), await EndAsync(Reply(replayed, [.. prompt, .. expected.Take(100)], 20)));
    }

    [Fact]
    public async Task ACancelledHold_ChangesNothing()
    {
        int[] prompt = _model.Tokenizer.Encode(Prompt);
        IReadOnlyList<int> alone = await EndAsync(Reply(_engine.CreateSequence(_model, Whole), prompt));
        Sequence live = _engine.CreateSequence(_model, Whole);
        Generation reply = Reply(live, prompt);
        live.CancelAdapter(await live.HoldAdapterAsync(ahead: 3));
        Assert.Equal(alone, await EndAsync(reply));
    }

    /// <summary>With the whole text in view and the same weights, a chunk against its pinned cache has the loss of the chunk behind the whole text.</summary>
    [Fact]
    public async Task APinnedChunk_IsLearnedAgainstWhatItsTokensSaw()
    {
        Sequence sequence = _engine.CreateSequence(_model, Whole);
        sequence.PinChunks(127, 64);
        Generation fed = _engine.Submit(new() { Sequence = sequence, Tokens = _text, FeedOnly = true });
        await fed.Completion;
        // The newest two are kept: 319..383 is learned against all before it, 127..191 was given up.
        double pinned = await LossAsync(319), lost = await LossAsync(127);
        double whole = (await _engine.TrainAsync(Request() with { Chunk = new(_text.AsMemory(0, 384), 320) }, Cancellation)).Result.Losses[0];
        double bare = (await _engine.TrainAsync(Request() with { Chunk = new(_text.AsMemory(319, 65), 1) }, Cancellation)).Result.Losses[0];
        Assert.Equal(whole, pinned, 2e-3); // keys in 16 bits
        Assert.True(bare > whole + 0.05, $"{bare} against {whole}");
        Assert.Equal((await _engine.TrainAsync(Request() with { Chunk = new(_text.AsMemory(127, 65), 1) }, Cancellation)).Result.Losses[0], lost, 1e-9);
        sequence.Drop();

        async Task<double> LossAsync(int at)
        {
            var chunk = new TrainingChunk(_text.AsMemory(at, 65), 1);
            return (await _engine.TrainAsync(Request() with { Chunk = chunk, Pinned = new(sequence, at, chunk) }, Cancellation)).Result.Losses[0];
        }
    }

    [Fact]
    public async Task ACancelledRun_IsDiscarded_AndTheNextGoesOn()
    {
        using var cancel = new CancellationTokenSource();
        Task<TrainingOutcome> first = _engine.TrainAsync(Request() with { Options = new() { Epochs = 1000 } }, cancel.Token);
        Task<TrainingOutcome> second = _engine.TrainAsync(Request(tenant: "b"), Cancellation);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first);
        Assert.NotNull((await second).Result.State);
    }

    [Fact]
    public async Task WhatCannotBeTrained_IsRefused()
    {
        var badChunk = await Assert.ThrowsAsync<LongCtxException>(() => _engine.TrainAsync(Request() with { Chunk = new(new int[] { 1, _model.Config.VocabularySize }, 1) }, Cancellation));
        Assert.Contains("vocabulary", badChunk.Message);
        var other = new LoraLayout(_model.Config with { LayerCount = 2 }, 4, 4, LoraTargets.All);
        var foreign = await Assert.ThrowsAsync<LongCtxException>(() => _engine.TrainAsync(Request(LoraState.Create(other, 1)), Cancellation));
        Assert.Equal("adapter", foreign.Parameter);
        await using var none = new InferenceEngine(new EngineOptions { Threads = 1, TrainingShare = 0 });
        DecoderModel model = await none.LoadDecoderAsync(Repository.Pg19, "pg19-7m");
        Assert.Contains("training share", (await Assert.ThrowsAsync<LongCtxException>(() => none.TrainAsync(Request() with { Model = model }, Cancellation))).Message);
        Assert.Throws<LongCtxException>(() => new InferenceEngine(new EngineOptions { TrainingShare = 1.5 }));
    }
}
