using LongCtx.Conversations.Local;

namespace LongCtx.Conversations.Tests;

public class PromptStarterTests
{
    static ChatMessage System(string text) => new("system", text);
    static ChatMessage User(string text) => new("user", text);
    static ChatMessage Assistant(string text) => new("assistant", text);

    static readonly ChatFormat Format = LetterFormat.ChatMl();

    [Fact]
    public async Task StartAsync_NextTurn_FeedsOnlyWhatFollowsTheReply()
    {
        var pool = new LetterPool();
        var first = await pool.RunAsync(Format, [User("hello")], "good day");
        var second = await pool.StartAsync(Format, [User("hello"), Assistant("good day"), User("bye")]);

        Assert.Same(first.Sequence, second.Sequence);
        Assert.Equal(first.Sequence.Ids.Count, second.Cached);
        Assert.Equal("<|end|>\n<|start|>user\nbye<|end|>\n<|start|>assistant\n", LetterFormat.Decode(second.Fed));
        // The user's turn begins behind the closing of the reply, the reply to come behind the user's.
        Assert.Equal(["<|start|>user\nbye<|end|>\n<|start|>assistant\n", "<|start|>assistant\n"],
            second.TurnStarts.Select(t => LetterFormat.Decode(second.Fed[t..])));
    }

    [Fact]
    public async Task StartAsync_StopTextCutAToken_FeedsTheRestOfTheReplyFirst()
    {
        var pool = new LetterPool();
        await pool.RunAsync(Format, [User("hello")], "good day", uncovered: 3);
        var second = await pool.StartAsync(Format, [User("hello"), Assistant("good day"), User("bye")]);
        Assert.StartsWith("day<|end|>\n<|start|>user", LetterFormat.Decode(second.Fed), StringComparison.Ordinal);
    }

    [Fact]
    public async Task StartAsync_EditedMessage_ForksBeforeItAndExtendsByTokens()
    {
        var pool = new LetterPool();
        var lease = await pool.RunAsync(Format, [User("one"), Assistant("1"), User("two, three")], "2");
        var edited = await pool.StartAsync(Format, [User("one"), Assistant("1"), User("two, four")]);
        Assert.NotSame(lease.Sequence, edited.Sequence);
        Assert.Equal("four<|end|>\n<|start|>assistant\n", LetterFormat.Decode(edited.Fed));
        Assert.Equal([LetterFormat.Decode(edited.Fed).IndexOf("<|start|>", StringComparison.Ordinal) - "<|end|>".Length + 1], edited.TurnStarts);
    }

    [Fact]
    public async Task StartAsync_Regenerate_LeavesOneTokenToFeed()
    {
        var pool = new LetterPool();
        await pool.RunAsync(Format, [User("one")], "first answer");
        var again = await pool.StartAsync(Format, [User("one")]);
        Assert.Equal("\n", LetterFormat.Decode(again.Fed));
        Assert.Equal(LetterFormat.Encode(Format.Render([User("one")], true)).Ids.Length - 1, again.Cached);
    }

    [Fact]
    public async Task StartAsync_SameSystemPromptInAnotherConversation_SharesIt()
    {
        var pool = new LetterPool();
        await pool.RunAsync(Format, [System("You are terse."), User("one")], "1");
        var other = await pool.StartAsync(Format, [System("You are terse."), User("two")]);
        Assert.Equal("two<|end|>\n<|start|>assistant\n", LetterFormat.Decode(other.Fed));
    }

    [Fact]
    public async Task StartAsync_OtherTenant_SharesNothing()
    {
        var pool = new LetterPool();
        await pool.RunAsync(Format, [System("You are terse."), User("one")], "1");
        var other = await pool.StartAsync(Format, [System("You are terse."), User("one")], tenant: "b");
        Assert.Equal(0, other.Cached);
        Assert.Equal(0, pool.ReuseCalls);
    }

    [Fact]
    public async Task StartAsync_SameRequestWhileTheFirstRuns_ForksItsPrompt()
    {
        var pool = new LetterPool();
        ChatMessage[] messages = [System("You are terse."), User("one")];
        var first = await pool.StartAsync(Format, messages);
        Assert.Equal(0, (await pool.StartAsync(Format, messages)).Cached); // nothing of the first is in yet
        first.Sequence.Ids.AddRange(first.Fed);
        first.PromptFed();
        var third = await pool.StartAsync(Format, messages);
        Assert.NotSame(first.Sequence, third.Sequence);
        Assert.Single(third.Fed);
    }

    [Fact]
    public async Task StartAsync_TwoContinueOneReply_OneTakesTheSequenceAndOneForks()
    {
        var pool = new LetterPool();
        var first = await pool.RunAsync(Format, [User("one")], "1");
        int count = first.Sequence.Ids.Count;
        var a = await pool.StartAsync(Format, [User("one"), Assistant("1"), User("two")]);
        var b = await pool.StartAsync(Format, [User("one"), Assistant("1"), User("three")]);
        Assert.Same(first.Sequence, a.Sequence);
        Assert.NotSame(first.Sequence, b.Sequence);
        Assert.Equal((count, count), (a.Cached, b.Cached));
        LetterPool.Run(a, "2");
        LetterPool.Run(b, "3");
        Assert.Equal(b.Sequence.Ids.Count, (await pool.StartAsync(Format, [User("one"), Assistant("1"), User("three"), Assistant("3"), User("x")])).Cached);
        Assert.Equal(a.Sequence.Ids.Count, (await pool.StartAsync(Format, [User("one"), Assistant("1"), User("two"), Assistant("2"), User("x")])).Cached);
    }

    [Fact]
    public async Task StartAsync_DivergesBeforeTheWindow_KeepsOnlyTheSinks()
    {
        var pool = new LetterPool();
        var lease = await pool.RunAsync(Format, [System("terse"), User("one"), Assistant("1"), User("two")], "2");
        lease.Sequence.ReachableFrom = lease.Sequence.Ids.Count;
        Assert.Equal(lease.Sequence.Ids.Count,
            (await pool.StartAsync(Format, [System("terse"), User("one"), Assistant("1"), User("two"), Assistant("2"), User("x")])).Cached);

        var edited = await pool.StartAsync(Format, [System("terse"), User("one"), Assistant("1"), User("changed")]);
        Assert.Equal(LetterPool.Policy.Sinks, edited.Cached);
        Assert.Equal(Format.Render([System("terse"), User("one"), Assistant("1"), User("changed")], true),
            LetterFormat.Decode([.. edited.Sequence.Ids, .. edited.Fed]));
    }

    [Fact]
    public async Task StartAsync_SequenceWasDroppedFromThePool_ComputesEverything()
    {
        var pool = new LetterPool();
        var first = await pool.RunAsync(Format, [User("one")], "1");
        first.Sequence.IsHeld = false;
        Assert.Equal(0, (await pool.StartAsync(Format, [User("one"), Assistant("1"), User("two")])).Cached);
        Assert.Equal(0, pool.Cache.Count);
    }

    [Fact]
    public async Task StartAsync_UnstableTemplate_ComparesTokensFromTheBeginning()
    {
        var format = LetterFormat.ChatMl(stable: false);
        var pool = new LetterPool();
        await pool.RunAsync(format, [User("one, two, three")], "1");
        var next = await pool.StartAsync(format, [User("one, two, three"), Assistant("1"), User("x")]);
        // The generated "1" has another id than the tokenised one, so the common part ends before it.
        Assert.Equal("1<|end|>\n<|start|>user\nx<|end|>\n<|start|>assistant\n", LetterFormat.Decode(next.Fed));
    }

    [Fact]
    public async Task Finish_CancelledInThePrompt_WhatIsInServesTheNextRequest()
    {
        var pool = new LetterPool();
        var first = await pool.StartAsync(Format, [User("a question of some length")]);
        first.Sequence.Ids.AddRange(first.Fed[..30]);
        Assert.True(first.Finish(30, [], "", ""));
        first.Sequence.IsPinned = false;
        first.Leave();
        var again = await pool.StartAsync(Format, [User("a question of some length")]);
        Assert.Equal(30, again.Cached);
        Assert.Same(first.Sequence, again.Sequence);
    }

    [Fact]
    public async Task Finish_NothingWasFedToAFork_ForgetsIt()
    {
        var pool = new LetterPool();
        await pool.RunAsync(Format, [User("one")], "1");
        var fork = await pool.StartAsync(Format, [User("one")]);
        Assert.False(fork.Finish(fork.Cached, [], "", ""));
        fork.Leave();
        Assert.Equal(1, pool.Cache.Count);
    }

    [Fact]
    public async Task Cache_MoreSequencesThanAllowed_DropsTheLeastRecentlyUsedIdleOne()
    {
        var pool = new LetterPool(entriesMax: 2);
        var a = await pool.RunAsync(Format, [User("aaaa")], "1");
        var b = await pool.RunAsync(Format, [User("bbbb")], "1");
        await pool.RunAsync(Format, [User("aaaa"), Assistant("1"), User("more")], "2");
        await pool.RunAsync(Format, [User("cccc")], "1");
        Assert.Equal((true, false, 2), (a.Sequence.IsHeld, b.Sequence.IsHeld, pool.Cache.Count));
    }

    [Fact]
    public async Task Cache_SequenceInUse_IsNotDroppedUntilItsRequestsHaveLeft()
    {
        var pool = new LetterPool(entriesMax: 1);
        var a = await pool.StartAsync(Format, [User("aaaa")]);
        a.Sequence.Ids.AddRange(a.Fed);
        a.PromptFed();
        await pool.RunAsync(Format, [User("aaaa")], "forked from a");
        await pool.RunAsync(Format, [User("bbbb")], "1");
        Assert.True(a.Sequence.IsHeld);
        LetterPool.End(a, "1");
        await pool.RunAsync(Format, [User("cccc")], "1");
        Assert.Equal((false, 1), (a.Sequence.IsHeld, pool.Cache.Count));
    }

    [Fact]
    public void Chain_SameTextInAnotherRoleOrCut_IsAnotherChat()
    {
        UInt128[] keys = [.. new ChatMessage[] { new("user", "ab"), new("tool", "ab"), new("use", "rab"), new("user", "a") }.Select(m => new MessageChain([m])[1]),
            new MessageChain([User("a"), User("b")])[2], new MessageChain([User("b"), User("a")])[2]];
        Assert.Equal(keys.Length, keys.Distinct().Count());
        Assert.Equal(new MessageChain([User("x"), User("y")])[1], new MessageChain([User("x")])[1]);
    }

    [Theory]
    [InlineData(false, null)]
    [InlineData(true, null)]
    [InlineData(false, "You help.")]
    public async Task StartAsync_RandomHistories_ReusesTheLongestCommonMessagesThatAnySequenceHolds(bool trims, string? defaultSystem)
    {
        int seed = Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var random = new Random(seed);
        var format = LetterFormat.ChatMl(defaultSystem, trims);
        var pool = new LetterPool();
        // The naive twin: every chat that was ever run with its reply, as plain lists of messages.
        var past = new List<(ChatMessage[] Messages, int Uncovered)>();

        for (int step = 0; step < 300; step++)
        {
            var messages = RandomRequest(random, past.Select(p => p.Messages).ToList());
            var lease = await pool.StartAsync(format, messages);

            int[] all = [.. lease.Sequence.Ids, .. lease.Fed];
            Assert.Equal(lease.Cached, lease.Sequence.Ids.Count);
            Assert.Equal(Normal(format.Render(messages, true), trims), Normal(LetterFormat.Decode(all), trims));

            int common = past.Count == 0 ? 0 : past.Max(p => CommonMessages(p.Messages, messages));
            var best = past.FindAll(p => CommonMessages(p.Messages, messages) == common);
            if (common > 0)
            {
                string shared = Normal(format.Render(messages[..common], false), trims);
                string cached = Normal(LetterFormat.Decode(lease.Sequence.Ids), trims);
                // Where a reply that nobody has continued is the end, its closing and what its tokens do not cover are still to come.
                int open = best.Any(p => p.Messages.Length > common) ? 0 : "<|end|>\n".Length + best.Min(p => p.Uncovered);
                Assert.True(cached.Length >= shared.Length - open, $"seed {seed}, step {step}: {cached} is shorter than {shared}");
                Assert.StartsWith(shared[..^open], cached, StringComparison.Ordinal);
            }

            string reply = RandomText(random);
            int uncovered = random.Next(3) == 0 ? random.Next(reply.Length + 1) : 0;
            LetterPool.Run(lease, reply, uncovered);
            past.Add(([.. messages, Assistant(reply)], uncovered));
        }
    }

    /// <summary>Continues, edits, cuts or regenerates an earlier chat, or begins a new one.</summary>
    static ChatMessage[] RandomRequest(Random random, List<ChatMessage[]> past)
    {
        if (past.Count == 0 || random.Next(10) == 0)
            return random.Next(2) == 0 ? [User(RandomText(random))] : [System(RandomText(random)), User(RandomText(random))];
        var messages = past[random.Next(past.Count)].ToList();
        if (random.Next(2) == 0) messages.RemoveRange(random.Next(1, messages.Count), 1);
        if (random.Next(3) == 0)
        {
            int edited = random.Next(messages.Count);
            messages[edited] = messages[edited] with { Content = RandomText(random) };
        }
        if (random.Next(3) > 0) messages = messages[..random.Next(1, messages.Count + 1)];
        if (messages[^1].Role == "assistant" || random.Next(4) == 0) messages.Add(User(RandomText(random)));
        return [.. messages];
    }

    static string RandomText(Random random) => string.Concat(Enumerable.Range(0, random.Next(1, 6)).Select(_ => "ab "[random.Next(3)]));

    static int CommonMessages(ChatMessage[] a, ChatMessage[] b)
    {
        int n = 0;
        while (n < a.Length && n < b.Length && a[n] == b[n]) n++;
        return n;
    }

    /// <summary>A generated reply keeps the spaces that the template would trim.</summary>
    static string Normal(string text, bool trims) => trims ? text.Replace(" ", "", StringComparison.Ordinal) : text;
}
