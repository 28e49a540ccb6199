using LongCtx.Conversations.Local;
using LongCtx.Engine.Cache;

namespace LongCtx.Conversations.Tests;

/// <summary>With the real engine: what a request pays, and that a reply from the cache is the one that computing everything gives.</summary>
[Collection(EngineTests.Name)]
public sealed class LocalHostPromptCacheTests(EngineFixture engine)
{
    static readonly string[] Lines =
    [
        "The sea was calm that night.", "Who stood at the door?", "Tell me about the old house.", "And what did she answer?",
        "It rained for three days.", "Where had the captain gone?", "I do not believe it.",
    ];

    [Theory]
    [InlineData("small", 40)]
    [InlineData("chat", 12)]
    public async Task CompleteAsync_TwentyTurns_EachPaysOnlyForItsNewTokens(string name, int replyTokens)
    {
        var model = name == "small" ? engine.Small : engine.Chat;
        // Drawn from a flat distribution a reply is spelt as no tokenizer would: only its own ids give the same prompt again.
        var sampling = name == "small" ? new SamplingOptions { Temperature = 1.3f, Seed = 5 } : SamplingOptions.Greedy;
        var dialogue = new Dialogue(engine, engine.Host(), model) { Sampling = sampling };
        long held = 0;
        int evicted = 0, misspelt = 0;
        for (int turn = 0; turn < 20; turn++)
        {
            var reply = await dialogue.SayAsync($"{turn}. {Lines[turn % Lines.Length]}", replyTokens);
            Assert.Equal(dialogue.PromptIds.Count, reply.Usage.PromptTokens);
            Assert.Equal(held, reply.Usage.CachedTokens);
            Assert.Equal(reply.Usage.Window.Total, reply.Usage.PromptTokens + dialogue.LatestIds.Length);
            held = reply.Usage.Window.Total;
            evicted += reply.Usage.EvictedTokens;
            if (!dialogue.LatestIsCanonical) misspelt++;
            Assert.Equal(evicted, reply.Usage.Window.Evicted);
            // By the cache rule the reply is the same however the prompt came in, evicted tokens or not.
            if (turn % 8 == 3) Assert.Equal(await dialogue.RecomputedAsync(replyTokens), reply.Text);
        }
        Assert.Equal((name == "small", name == "small"), (evicted > 0, misspelt > 3));
    }

    [Fact]
    public async Task CompleteAsync_MessageEditedInTheMiddle_ReusesWhatIsBeforeIt()
    {
        var dialogue = new Dialogue(engine, engine.Host(), engine.Small);
        for (int turn = 0; turn < 3; turn++) await dialogue.SayAsync(Lines[turn]);
        dialogue.Messages.RemoveAt(5);
        dialogue.Messages[2] = new("user", "Tell me about the ship.");
        var reply = await dialogue.AskAgainAsync();
        int common = dialogue.TokensOf(2); // and of the changed turn its opening, at least
        Assert.InRange(reply.Usage.CachedTokens, common + 3, dialogue.TokensOf(3));
        Assert.Equal(await dialogue.RecomputedAsync(), reply.Text);
    }

    [Fact]
    public async Task CompleteAsync_Regenerate_ComputesOneToken()
    {
        var dialogue = new Dialogue(engine, engine.Host(), engine.Small);
        for (int turn = 0; turn < 3; turn++) await dialogue.SayAsync(Lines[turn]);
        var first = dialogue.Latest;
        dialogue.Messages.RemoveAt(5);
        var again = await dialogue.AskAsync();
        Assert.Equal((1, first.Text), (again.Computed, again.Text));
    }

    [Fact]
    public async Task CompleteAsync_DivergingLastTurn_LeavesTheOtherBranchInPlace()
    {
        var host = engine.Host();
        var dialogue = new Dialogue(engine, host, engine.Small);
        await dialogue.SayAsync(Lines[0]);
        var branch = dialogue.Branch();
        await dialogue.SayAsync(Lines[1]);
        int asked = dialogue.Latest.Usage.PromptTokens;

        var other = await branch.SayAsync(Lines[2]);
        Assert.InRange(other.Computed, 1, other.Usage.PromptTokens - branch.TokensOf(2));
        Assert.Equal(await branch.RecomputedAsync(), other.Text);
        var next = await dialogue.SayAsync(Lines[3]);
        Assert.True(next.Usage.CachedTokens > asked, $"{next.Usage.CachedTokens} cached of {next.Usage.PromptTokens}");
        Assert.Equal(await dialogue.RecomputedAsync(), next.Text);
    }

    [Fact]
    public async Task CompleteAsync_SameSystemPromptInTwoConversations_ComputesItOnce()
    {
        var host = engine.Host();
        ChatMessage system = new("system", "You are an old sailor who has seen every harbour of the world and tells of them in short sentences.");
        var one = new Dialogue(engine, host, engine.Chat) { Messages = { system } };
        var two = new Dialogue(engine, host, engine.Chat) { Messages = { system } };
        await one.SayAsync("Which harbour was the best?", 8);
        var reply = await two.SayAsync("What is a sextant for?", 8);
        Assert.InRange(reply.Usage.CachedTokens, two.TokensOf(1), reply.Usage.PromptTokens - 1);
        Assert.Equal(await two.RecomputedAsync(8), reply.Text);

        var stranger = new Dialogue(engine, host, engine.Chat, tenant: "b") { Messages = { system } };
        Assert.Equal(0, (await stranger.SayAsync("What is a sextant for?", 8)).Usage.CachedTokens);
    }

    [Fact]
    public async Task CompleteAsync_SystemPromptAfterTheWindowOverflowed_IsStillInTheSinks()
    {
        var host = engine.Host();
        ChatMessage system = new("system", "The ship lay at anchor in the bay, and the captain would not say a word about where she was bound.");
        var one = new Dialogue(engine, host, engine.Small) { Messages = { system } };
        while (one.Latest is not { Usage.Window.Evicted: > 200 }) await one.SayAsync(Lines[one.Messages.Count % Lines.Length], 60);
        var two = new Dialogue(engine, host, engine.Small) { Messages = { system } };
        var reply = await two.SayAsync("Who was she?");
        Assert.InRange(reply.Usage.CachedTokens, two.TokensOf(1), reply.Usage.PromptTokens - 1);
        Assert.Equal(await two.RecomputedAsync(), reply.Text);
    }

    [Fact]
    public async Task CompleteAsync_SameRequestTwiceAtOnce_BothGetTheSameReply()
    {
        var host = engine.Host();
        var dialogue = new Dialogue(engine, host, engine.Small);
        await dialogue.SayAsync(Lines[0]);
        var (a, b) = (dialogue.Branch(), dialogue.Branch());
        var replies = await Task.WhenAll(a.SayAsync(Lines[1]), b.SayAsync(Lines[1]));
        Assert.Equal(replies[0].Text, replies[1].Text);
        Assert.Equal(await a.RecomputedAsync(), replies[0].Text);
        Assert.All(replies, r => Assert.True(r.Usage.CachedTokens >= dialogue.TokensOf(1), $"only {r.Usage.CachedTokens} cached"));
        await AssertNothingRunsAsync(host);
    }

    [Fact]
    public async Task CompleteAsync_LeftEarly_StopsAndTheTextSoFarCanBeContinued()
    {
        var host = engine.Host();
        var dialogue = new Dialogue(engine, host, engine.Small);
        await dialogue.SayAsync(Lines[0]);
        int held = (int)dialogue.Latest.Usage.Window.Total;
        dialogue.Messages.Add(new("user", Lines[1]));
        string partial = "";
        await foreach (var e in host.CompleteAsync("a", dialogue.Request(100_000) with { Sampling = Endless }, TestContext.Current.CancellationToken))
        {
            if (e is CompletionDelta d) partial += d.Text;
            if (partial.Length > 40) break;
        }
        await AssertNothingRunsAsync(host);

        dialogue.Messages.Add(new("assistant", partial));
        dialogue.Messages.Add(new("user", Lines[2]));
        var reply = await dialogue.AskAgainAsync();
        // All but the new turn, and at most a few tokens around the place at which the client left.
        Assert.InRange(reply.Usage.CachedTokens, Math.Max(held, dialogue.TokensOf(4) - 8), reply.Usage.PromptTokens - 1);
        Assert.Equal(await dialogue.RecomputedAsync(), reply.Text);
    }

    [Fact]
    public async Task CompleteAsync_CancelledWhileQueuedOrRunning_ThrowsAndFreesEverything()
    {
        var host = engine.Host();
        using var cancel = new CancellationTokenSource();
        await using var events = host.CompleteAsync("a", new Dialogue(engine, host, engine.Small) { Messages = { new("user", Lines[0]) } }.Request(100_000) with { Sampling = Endless }, cancel.Token)
            .GetAsyncEnumerator(TestContext.Current.CancellationToken);
        Assert.True(await events.MoveNextAsync());
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            while (await events.MoveNextAsync()) { }
        });
        await AssertNothingRunsAsync(host);
    }

    [Fact]
    public async Task CompleteAsync_StopTextInsideAToken_NextTurnContinuesBehindTheCut()
    {
        var host = engine.Host();
        var dialogue = new Dialogue(engine, host, engine.Small);
        await dialogue.SayAsync(Lines[0]);
        var whole = dialogue.Latest;
        // A stop text that begins inside a token of the reply and ends inside the next.
        string[] pieces = [.. dialogue.LatestIds.Select(id => engine.Small.Tokenizer.Decode([id], skipSpecial: false))];
        int at = Array.FindIndex(pieces, 3, p => p.Trim().Length >= 3);
        string stop = pieces[at][2..];
        int cut = whole.Text.IndexOf(stop, StringComparison.Ordinal);
        Assert.DoesNotContain(cut, pieces.Select((_, i) => string.Concat(pieces[..i]).Length)); // really inside a token

        var second = new Dialogue(engine, engine.Host(), engine.Small);
        var stopped = await second.SayAsync(Lines[0], stop: [stop]);
        Assert.Equal((whole.Text[..cut], FinishReason.Stop), (stopped.Text, stopped.Reason));
        second.Messages.Add(new("user", Lines[1]));
        var next = await second.AskAgainAsync();
        Assert.InRange(next.Computed, 1, next.Usage.PromptTokens - second.TokensOf(1));
        Assert.True(next.Usage.CachedTokens > stopped.Usage.PromptTokens, "the reply's whole tokens stay");
        Assert.Equal(second.PromptIds.Count, next.Usage.PromptTokens); // the part of a token before the cut is fed, not lost
        Assert.Equal(await second.RecomputedAsync(), next.Text);
    }

    [Fact]
    public async Task CompleteAsync_RawPromptThatExtendsAnother_ReusesTheCommonTokens()
    {
        var host = engine.Host();
        const string text = "It was a dark night, and the wind blew from the sea over the little town where nobody slept.";
        var first = await Client.CompleteAsync(host, "a", Raw(text));
        var second = await Client.CompleteAsync(host, "a", Raw(text + first.Text + " Then"));
        Assert.InRange(second.Usage.CachedTokens, first.Usage.PromptTokens, second.Usage.PromptTokens - 1);
        Assert.Equal((await Client.CompleteAsync(engine.Host(), "a", Raw(text + first.Text + " Then"))).Text, second.Text);
    }

    /// <summary>Never ends by itself.</summary>
    SamplingOptions Endless => SamplingOptions.Greedy with { LogitBias = engine.Small.StopTokens.ToDictionary(id => id, _ => -100f) };

    static CompletionRequest Raw(string text) => new() { Model = "small", Prompt = text, MaxTokens = 16, Sampling = SamplingOptions.Greedy };

    [Theory]
    [InlineData("endless", 0)]
    [InlineData("window", 0)]
    [InlineData("full", 0)]
    [InlineData("selfextend", 0)]
    public async Task CompleteAsync_AnyPolicy_ContinuesAsIfComputedWhole(string preset, int capacity)
    {
        var options = new PolicyOptions(preset, capacity == 0 ? null : capacity);
        var dialogue = new Dialogue(engine, engine.Host(options), engine.Small);
        for (int turn = 0; turn < 6; turn++) await dialogue.SayAsync(Lines[turn], 16);
        Assert.Equal(await dialogue.RecomputedAsync(16, options), dialogue.Latest.Text);
    }

    static async Task AssertNothingRunsAsync(LocalConversationHost host)
    {
        var status = await host.GetStatusAsync(TestContext.Current.CancellationToken);
        Assert.Equal((0, 0), (status.Running, status.Queued));
    }
}
