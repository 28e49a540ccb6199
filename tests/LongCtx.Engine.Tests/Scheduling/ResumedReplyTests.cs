using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Engine.Tests.Scheduling;

/// <summary>A reply that was interrupted after any of its tokens and resumed, beside the same reply in one piece.</summary>
public sealed class ResumedReplyTests : IAsyncLifetime
{
    const string Prompt = "The old man looked at the sea and said nothing. The captain";
    const int TokensMax = 24;
    static readonly AttentionPolicy Rule = new(4, 16, 2, 32, 4); // evicts and crosses within the reply
    readonly InferenceEngine _engine = new(new EngineOptions { Threads = 2, KvMemoryBytes = 64 << 20 });
    DecoderModel _model = null!;
    int[] _prompt = [];

    public async ValueTask InitializeAsync()
    {
        _model = await _engine.LoadDecoderAsync(Repository.Pg19, "pg19-7m");
        _prompt = _model.Tokenizer.Encode(Prompt);
    }

    public ValueTask DisposeAsync() => _engine.DisposeAsync();

    /// <summary>All that a caller can see of a reply, and of the sequence afterwards.</summary>
    sealed record Reply(List<(int Id, string Text)> Tokens, GenerationResult Result, long Count, bool IsHeld, IReadOnlyList<int>? Next);

    async Task<Reply> RunAsync(GenerationRequest request)
    {
        List<(int, string)> tokens = [];
        Generation generation = _engine.Submit(request);
        await foreach (GeneratedToken token in generation.Tokens.ReadAllAsync()) tokens.Add((token.Id, token.Text));
        GenerationResult result = await generation.Completion;
        (long count, bool held) = (request.Sequence.Count, request.Sequence.IsHeld);
        IReadOnlyList<int>? next = null;
        if (held && !request.Sequence.Policy.IsUnlimited) // with penalties over the whole window, which the next turn must find as it would have been
        {
            Generation following = _engine.Submit(new()
            {
                Sequence = request.Sequence, Tokens = _model.Tokenizer.Encode(" Then"), MaxTokens = 6, Sampling = new() { Temperature = 0, FrequencyPenalty = 0.7f },
            });
            next = (await following.Completion).Ids;
        }

        request.Sequence.Drop();
        return new(tokens, result, count, held, next);
    }

    Sequence NewSequence() => _engine.CreateSequence(_model, Rule);

    async Task FeedAsync(Sequence sequence, int[] tokens) =>
        await _engine.Submit(new() { Sequence = sequence, Tokens = tokens, FeedOnly = true }).Completion;

    /// <summary>Cuts the reply behind its k-th token, for every k, in three ways: nothing is left, a part of the tokens, or all of them.</summary>
    async Task<Reply> CheckAsync(GenerationRequest request)
    {
        Reply whole = await RunAsync(request with { Sequence = NewSequence(), Tokens = _prompt });
        int sampled = whole.Tokens.Count(t => !request.StopTokens.Contains(t.Id));
        int[] ids = [.. whole.Tokens.Take(sampled).Select(t => t.Id)];
        for (int k = 1; k <= sampled; k++)
        {
            int[] resumed = ids[..k];
            Reply fed = await RunAsync(request with { Sequence = NewSequence(), Tokens = (int[])[.. _prompt, .. resumed], Resumed = resumed });
            Compare(whole, fed, k, "nothing left");

            Sequence partly = NewSequence();
            await FeedAsync(partly, [.. _prompt, .. resumed[..(k / 2)]]);
            Compare(whole, await RunAsync(request with { Sequence = partly, Tokens = resumed[(k / 2)..], Resumed = resumed }), k, "a part left");

            Sequence holding = NewSequence();
            GenerationResult first = await _engine.Submit(request with { Sequence = holding, Tokens = _prompt, StopTexts = [], MaxTokens = k }).Completion;
            Assert.Equal(resumed, first.Ids);
            Assert.True(holding.HasPending);
            Compare(whole, await RunAsync(request with { Sequence = holding, Tokens = ReadOnlyMemory<int>.Empty, Resumed = resumed }), k, "all left");
        }

        return whole;
    }

    static void Compare(Reply whole, Reply resumed, int k, string how)
    {
        string at = $"cut after {k}, {how}";
        Assert.True(whole.Tokens.Skip(k).SequenceEqual(resumed.Tokens), $"{at}: {string.Join('|', resumed.Tokens)} instead of {string.Join('|', whole.Tokens.Skip(k))}");
        Assert.True(whole.Result.Text == resumed.Result.Text, $"{at}: '{resumed.Result.Text}' instead of '{whole.Result.Text}'");
        Assert.True(whole.Result.Ids.SequenceEqual(resumed.Result.Ids), $"{at}: ids");
        Assert.Equal((at, whole.Result.Reason, whole.Result.TextBeyond), (at, resumed.Result.Reason, resumed.Result.TextBeyond));
        Assert.Equal((at, whole.Result.CompletionTokens, whole.Result.Window), (at, resumed.Result.CompletionTokens, resumed.Result.Window));
        Assert.Equal((at, whole.Count, whole.IsHeld), (at, resumed.Count, resumed.IsHeld));
        Assert.True(whole.Next is null || whole.Next.SequenceEqual(resumed.Next!), $"{at}: the next turn");
    }

    GenerationRequest Request(float temperature = 0) => new()
    {
        Sequence = null!, Tokens = default, MaxTokens = TokensMax, Sampling = new() { Temperature = temperature, Seed = 7 },
    };

    [Theory]
    [InlineData(0)]
    [InlineData(0.9f)]
    public async Task Resume_OfAReplyThatFillsItsLimit_GoesOnAsIfNeverInterrupted(float temperature)
    {
        Reply whole = await CheckAsync(Request(temperature));
        Assert.Equal(FinishReason.Length, whole.Result.Reason);
        Assert.True(whole.Result.EvictedTokens > 0);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0.9f)]
    public async Task Resume_WithPenalties_SeesTheSameWindow(float temperature)
    {
        SamplingOptions penalties = new() { Temperature = temperature, Seed = 3, RepetitionPenalty = 1.4f, FrequencyPenalty = 0.9f, PenaltyWindow = 24 };
        Reply whole = await CheckAsync(Request() with { Sampling = penalties });
        Reply without = await RunAsync(Request() with { Sequence = NewSequence(), Tokens = _prompt, Sampling = penalties with { RepetitionPenalty = 1, FrequencyPenalty = 0 } });
        Assert.NotEqual(without.Result.Ids, whole.Result.Ids); // the penalties do something here
    }

    [Fact]
    public async Task Resume_InsideAStopText_FindsItAcrossTheCut()
    {
        Reply free = await RunAsync(Request(0.9f) with { Sequence = NewSequence(), Tokens = _prompt });
        // From inside one token over several to inside another, so that cuts fall before, into and behind it.
        string stop = free.Result.Text.Substring(free.Result.Text.Length / 2, 9);
        Reply whole = await CheckAsync(Request(0.9f) with { StopTexts = [stop, "never"] });
        Assert.Equal(FinishReason.Stop, whole.Result.Reason);
        Assert.Equal(free.Result.Text[..free.Result.Text.IndexOf(stop, StringComparison.Ordinal)], whole.Result.Text);
        Assert.True(whole.Tokens.Count - whole.Result.Ids.Count > 1, "the stop text should span tokens");
        Assert.NotEmpty(whole.Result.TextBeyond);
    }

    [Fact]
    public async Task Resume_BeforeAStopToken_SamplesItAgain()
    {
        Reply free = await RunAsync(Request(0.9f) with { Sequence = NewSequence(), Tokens = _prompt });
        int stop = free.Tokens.Select(t => t.Id).Skip(8).First(id => free.Tokens.Count(t => t.Id == id) == 1);
        Reply whole = await CheckAsync(Request(0.9f) with { StopTokens = new HashSet<int> { stop } });
        Assert.Equal(FinishReason.Stop, whole.Result.Reason);
        Assert.Equal(stop, whole.Tokens[^1].Id);
    }

    [Fact]
    public async Task Resume_InsideACharacter_CompletesIt()
    {
        // Bytes of 'é', '€', '🙂' and of nothing, drawn at random: characters across cuts, broken ones, one that is unfinished at the end.
        byte[] bytes = [0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x99];
        Dictionary<int, float> bias = [];
        for (int id = 0; id < _model.Config.VocabularySize; id++)
            if (_model.Tokenizer.TokenBytes(id) is [var single] && bytes.Contains(single)) bias[id] = 100;
        Assert.Equal(bytes.Length, bias.Count);
        GenerationRequest request = Request() with { Sampling = new() { Temperature = 2, Seed = 1, LogitBias = bias } };
        Reply free = await CheckAsync(request);
        Assert.Contains(free.Tokens, t => t.Text.Length == 0);
        int at = free.Result.Text.ToList().FindIndex(free.Result.Text.Length / 2, c => c > 0x7F && c != 0xFFFD);
        Assert.True(at > 0, $"no whole character in '{free.Result.Text}'");
        Reply cut = await CheckAsync(request with { StopTexts = [free.Result.Text.Substring(at, 2)] });
        Assert.Equal(FinishReason.Stop, cut.Result.Reason);
    }

    [Fact]
    public async Task Resume_AtTheBoundOfThePolicy_EndsAtOnce()
    {
        var full = new AttentionPolicy(0, 1, 1, 0, 1);
        int[] prompt = [.. Enumerable.Repeat(300, 509)];
        Reply whole = await RunAsync(Request() with { Sequence = _engine.CreateSequence(_model, full), Tokens = prompt });
        Assert.Equal(3, whole.Tokens.Count);
        for (int k = 1; k <= 3; k++)
        {
            int[] resumed = [.. whole.Result.Ids.Take(k)];
            Sequence sequence = _engine.CreateSequence(_model, full);
            Compare(whole, await RunAsync(Request() with { Sequence = sequence, Tokens = (int[])[.. prompt, .. resumed], Resumed = resumed }), k, "nothing left");
        }
    }

    [Fact]
    public async Task Cancel_BeforeAllResumedTokensAreFed_TellsWhatTheSequenceHolds()
    {
        int[] resumed = _model.Tokenizer.Encode(string.Concat(Enumerable.Repeat(" and so it went on", 400)));
        Sequence sequence = NewSequence();
        Generation generation = _engine.Submit(Request() with { Sequence = sequence, Tokens = (int[])[.. _prompt, .. resumed], Resumed = resumed, MaxTokens = int.MaxValue });
        generation.Cancel();
        GenerationResult result = await generation.Completion;
        Assert.Equal(FinishReason.Cancelled, result.Reason);
        Assert.Equal(resumed[..result.Ids.Count], result.Ids);
        Assert.Equal(sequence.Count, result.PromptTokens + result.Ids.Count);
        Assert.Equal(_model.Tokenizer.Decode(resumed, false), result.Text);
        Assert.Equal(result.Text, _model.Tokenizer.Decode([.. result.Ids], false) + result.TextBeyond);
        sequence.Drop();
    }

    [Fact]
    public async Task Submit_OfResumedTokensThatAreNotTheNewest_IsRefused()
    {
        Sequence sequence = NewSequence();
        Assert.Contains("do not end with", Assert.Throws<LongCtxException>(() => _engine.Submit(Request() with { Sequence = sequence, Tokens = _prompt, Resumed = [1, 2] })).Message);
        Assert.Contains("max_tokens", Assert.Throws<LongCtxException>(() => _engine.Submit(Request() with { Sequence = sequence, Tokens = _prompt, Resumed = _prompt, MaxTokens = 2 })).Message);
        Assert.Throws<LongCtxException>(() => _engine.Submit(Request() with { Sequence = sequence, Tokens = _prompt, Resumed = _prompt, FeedOnly = true }));
        await FeedAsync(sequence, _prompt);
        Generation other = _engine.Submit(Request() with { Sequence = sequence, Tokens = (int[])[7, 8], Resumed = [6, 7, 8] });
        Assert.Contains("not the newest", (await Assert.ThrowsAsync<LongCtxException>(() => other.Completion)).Message);
        Assert.Equal(_prompt.Length, sequence.Count); // as it was, and free for another
        Assert.Equal(3, (await _engine.Submit(Request() with { Sequence = sequence, Tokens = (int[])[7], MaxTokens = 3 }).Completion).Ids.Count);
        sequence.Drop();
    }
}
