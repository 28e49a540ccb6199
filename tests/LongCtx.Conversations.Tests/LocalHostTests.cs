using System.Text.Json.Nodes;
using LongCtx.Conversations.Local;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Tests;

namespace LongCtx.Conversations.Tests;

[Collection(EngineTests.Name)]
public sealed class LocalHostTests(EngineFixture engine)
{
    static CompletionRequest Say(string? model, params ChatMessage[] messages) =>
        new() { Model = model, Messages = messages, MaxTokens = 4, Sampling = SamplingOptions.Greedy };

    /// <summary>Never ends by itself.</summary>
    SamplingOptions Endless => SamplingOptions.Greedy with { LogitBias = engine.Small.StopTokens.ToDictionary(id => id, _ => -100f) };

    static Task<LongCtxException> RefusalAsync(ICompletionHost host, CompletionRequest request) =>
        Assert.ThrowsAsync<LongCtxException>(() => Client.CompleteAsync(host, "a", request));

    [Fact]
    public async Task CompleteAsync_BadRequests_AreRefusedWithTheCure()
    {
        var host = engine.Host();
        ChatMessage hi = new("user", "Hi");
        (CompletionRequest Request, ErrorCode Code, string Parameter, string Says)[] cases =
        [
            (Say("gpt", hi), ErrorCode.ModelNotFound, "model", "small, chat"),
            (Say("encoder", hi), ErrorCode.InvalidRequest, "model", "encoder"),
            (Say("small"), ErrorCode.InvalidRequest, "messages", "empty"),
            (new(), ErrorCode.InvalidRequest, "messages", "either"),
            (Say("small", hi) with { Prompt = "x" }, ErrorCode.InvalidRequest, "messages", "either"),
            (new() { Prompt = "" }, ErrorCode.InvalidRequest, "prompt", "empty"),
            (Say("small", hi) with { MaxTokens = 0 }, ErrorCode.InvalidRequest, "max_tokens", "at least 1"),
            (Say("small", hi) with { Stop = [""] }, ErrorCode.InvalidRequest, "stop", "empty"),
        ];
        foreach (var (request, code, parameter, says) in cases)
        {
            var refusal = await RefusalAsync(host, request);
            Assert.Equal((code, parameter), (refusal.Code, refusal.Parameter));
            Assert.Contains(says, refusal.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task CompleteAsync_NoModelNamed_TakesTheFirst() =>
        Assert.Equal((await Client.CompleteAsync(engine.Host(), "a", Say("small", new ChatMessage("user", "Hi")))).Text,
            (await Client.CompleteAsync(engine.Host(), "a", Say(null, new ChatMessage("user", "Hi")))).Text);

    [Fact]
    public async Task CompleteAsync_PromptPastThePolicysBound_IsRefusedAndLeavesTheConversationIntact()
    {
        var host = engine.Host(new PolicyOptions("full"));
        var dialogue = new Dialogue(engine, host, engine.Small);
        await dialogue.SayAsync("Good evening.");
        long held = dialogue.Latest.Usage.Window.Total;
        var refusal = await RefusalAsync(host, Say("small", [.. dialogue.Messages, new("user", string.Concat(Enumerable.Repeat("and the sea ", 300)))]));
        Assert.Equal(ErrorCode.ContextLengthExceeded, refusal.Code);
        Assert.Equal(held, (await dialogue.SayAsync("Who is there?")).Usage.CachedTokens);
    }

    [Fact]
    public async Task CompleteAsync_GrowthToThePolicysBound_EndsWithLength()
    {
        var reply = await Client.CompleteAsync(engine.Host(new PolicyOptions("full")), "a",
            new() { Model = "small", Prompt = "It was", Sampling = Endless, MaxTokens = null });
        Assert.Equal((FinishReason.Length, 512L), (reply.Reason, reply.Usage.Window.Total));
    }

    [Fact]
    public async Task CompleteAsync_QueueFull_PassesThroughAndTheConversationGoesOnLater()
    {
        await using var small = new InferenceEngine(new EngineOptions { Threads = 1, KvMemoryBytes = 32 << 20, RunningMax = 1, QueueMax = 0 });
        var host = new LocalConversationHost(small, [await small.LoadDecoderAsync(Repository.Pg19, "small")], [], new());
        ChatMessage[] first = [new("user", "Who stood at the door?")];
        var reply = await Client.CompleteAsync(host, "a", Say("small", first));
        ChatMessage[] second = [.. first, new("assistant", reply.Text), new("user", "And then?")];

        await using (var busy = host.CompleteAsync("b", Say("small", first) with { MaxTokens = 1_000_000, Sampling = Endless }, TestContext.Current.CancellationToken)
            .GetAsyncEnumerator(TestContext.Current.CancellationToken))
        {
            Assert.True(await busy.MoveNextAsync());
            var refusal = await RefusalAsync(host, Say("small", second));
            Assert.Equal(ErrorCode.QueueFull, refusal.Code);
            Assert.NotNull(refusal.RetryAfter);
        }
        Assert.Equal(reply.Usage.Window.Total, (await Client.CompleteAsync(host, "a", Say("small", second))).Usage.CachedTokens);
    }

    [Fact]
    public async Task CompleteAsync_ManyRequestsLeftOrRefusedInASmallPool_NeverLeakASequence()
    {
        // Room for about three sequences of 512 tokens: any that stayed pinned would soon block all others.
        await using var small = new InferenceEngine(new EngineOptions { Threads = 1, KvMemoryBytes = 8 << 20 });
        var host = new LocalConversationHost(small, [await small.LoadDecoderAsync(Repository.Pg19, "small")], [], new());
        string text = string.Concat(Enumerable.Repeat("the wind and the sea ", 40));
        for (int i = 0; i < 12; i++)
        {
            var request = new CompletionRequest { Prompt = $"{i} {text}", MaxTokens = 100_000, Sampling = Endless };
            await foreach (var e in host.CompleteAsync("a", request, TestContext.Current.CancellationToken))
                if (e is CompletionDelta) break;
            await Assert.ThrowsAsync<LongCtxException>(() => Client.CompleteAsync(host, "a", request with { Sampling = SamplingOptions.Greedy with { TopP = -1 } }));
            using var cancelled = new CancellationTokenSource();
            await cancelled.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
            {
                await foreach (var _ in host.CompleteAsync("a", request, cancelled.Token)) { }
            });
        }
        Assert.Equal(FinishReason.Length, (await Client.CompleteAsync(host, "a", new() { Prompt = text, MaxTokens = 600, Sampling = Endless })).Reason);
    }

    [Fact]
    public async Task CompleteAsync_ModelWithoutTemplate_TakesRawPromptsAndSaysSo()
    {
        using var directory = new ModelCopy(config => config.Remove("chat_template"));
        var model = await engine.Engine.LoadDecoderAsync(directory.Path, "base");
        var host = new LocalConversationHost(engine.Engine, [model], [], new());
        var refusal = await RefusalAsync(host, Say("base", new ChatMessage("user", "Hi")));
        Assert.Equal(ErrorCode.InvalidRequest, refusal.Code);
        Assert.Contains("no chat template", refusal.Message, StringComparison.Ordinal);
        Assert.NotEmpty((await Client.CompleteAsync(host, "a", new() { Prompt = "It was", MaxTokens = 8, Sampling = SamplingOptions.Greedy })).Text);
    }

    [Fact]
    public async Task CompleteAsync_TemplateRefusesTheMessages_IsTheClientsMistake()
    {
        using var directory = new ModelCopy(config => config["chat_template"] = "{% if messages[0].role != 'user' %}{{ raise_exception('Begin with the user') }}{% endif %}{% for m in messages %}{{ m.content }}\n{% endfor %}");
        var host = new LocalConversationHost(engine.Engine, [await engine.Engine.LoadDecoderAsync(directory.Path, "strict")], [], new());
        var refusal = await RefusalAsync(host, Say("strict", new ChatMessage("system", "x"), new ChatMessage("user", "y")));
        Assert.Equal((ErrorCode.InvalidRequest, "messages"), (refusal.Code, refusal.Parameter));
        Assert.Contains("Begin with the user", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CompleteAsync_UnstableTemplate_StillReusesCommonTokens()
    {
        // Says at the top how many messages there are: appending changes what came before.
        using var directory = new ModelCopy(config => config["chat_template"] =
            "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{{ messages|length }} messages{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}");
        var model = await engine.Engine.LoadDecoderAsync(directory.Path, "unstable");
        Assert.False(model.TemplateStability!.ContinuesPrompt);
        var host = new LocalConversationHost(engine.Engine, [model], [], new());
        ChatMessage[] first = [new("user", "Who stood at the door of the old house that night, when the wind blew from the sea?")];
        var reply = await Client.CompleteAsync(host, "a", Say(null, first));
        var next = await Client.CompleteAsync(host, "a", Say(null, [.. first, new("assistant", reply.Text), new("user", "And then?")]));
        Assert.InRange(next.Usage.CachedTokens, 20, reply.Usage.PromptTokens - 5);
    }

    [Fact]
    public void Constructor_PolicyThatAModelCannotHonour_IsRefusedWithTheBound()
    {
        var refusal = Assert.Throws<LongCtxException>(() => engine.Host(new PolicyOptions("streaming", Capacity: 1024)));
        Assert.Contains("512", refusal.Message, StringComparison.Ordinal);
        Assert.Throws<LongCtxException>(() => new LocalConversationHost(engine.Engine, [], [], new() { CachedSequencesMax = 0 }));
        Assert.Throws<LongCtxException>(() => new LocalConversationHost(engine.Engine, [engine.Small, engine.Small], [], new()));
    }

    [Fact]
    public async Task ListModelsAsync_TellsWhatIsLoadedAndThePolicy()
    {
        var models = await engine.Host().ListModelsAsync(TestContext.Current.CancellationToken);
        Assert.Equal([("small", "decoder", 512), ("chat", "decoder", 8192), ("encoder", "encoder", 256)], models.Select(m => (m.Id, m.Kind, m.TrainedLength)));
        Assert.Equal("Q4_1", models[1].Quantization);
        Assert.InRange(models[1].Parameters, 130_000_000, 140_000_000);
        Assert.All(models, m => Assert.True(m.Created > 0));
        // SmolLM2 inserts a system turn of 21 tokens by itself: it is pinned.
        Assert.Equal(("4,64,1,512,16", "21,1024,1,4096,64", ""), (models[0].Policy, models[1].Policy, models[2].Policy));
    }

    [Fact]
    public async Task EmbedAsync_LongInput_IsCutAndCounted()
    {
        var host = engine.Host();
        string longText = string.Concat(Enumerable.Repeat("the sea ", 400));
        var result = await host.EmbedAsync("a", new(null, ["the cat sat", longText, longText + "and something else"]), TestContext.Current.CancellationToken);
        Assert.Equal(("encoder", 3, 2, 5 + 256 + 256), (result.Model, result.Vectors.Count, result.TruncatedInputs, result.PromptTokens));
        Assert.Equal(result.Vectors[1], result.Vectors[2]); // both are cut to the same
        Assert.NotEqual(result.Vectors[0], result.Vectors[1]);
        Assert.All(result.Vectors, v => Assert.InRange(v.Sum(x => x * x), 0.999f, 1.001f));

        async Task<LongCtxException> Refusal(string? model, params string[] inputs) =>
            await Assert.ThrowsAsync<LongCtxException>(async () => await host.EmbedAsync("a", new(model, inputs)));
        Assert.Equal(ErrorCode.ModelNotFound, (await Refusal("x", "y")).Code);
        Assert.Contains("encoder", (await Refusal("small", "y")).Message, StringComparison.Ordinal);
        Assert.Equal("input", (await Refusal(null)).Parameter);
    }

    [Fact]
    public async Task GetStatusAsync_WhileAReplyIsRead_CountsIt()
    {
        var host = engine.Host();
        await foreach (var _ in host.CompleteAsync("a", Say("small", new ChatMessage("user", "Hi")) with { MaxTokens = 100_000, Sampling = Endless }, TestContext.Current.CancellationToken))
        {
            var status = await host.GetStatusAsync(TestContext.Current.CancellationToken);
            Assert.True(status.Ready);
            Assert.Equal(1, status.Running);
            Assert.InRange(status.KvBlocksUsed, 1, status.KvBlocksTotal);
            break;
        }
        Assert.Equal(0, (await host.GetStatusAsync(TestContext.Current.CancellationToken)).Running);
    }

    /// <summary>pg19-7m with another tokenizer_config.json, in a directory of its own.</summary>
    sealed class ModelCopy : IDisposable
    {
        public ModelCopy(Action<JsonObject> change)
        {
            foreach (string file in Directory.GetFiles(Repository.Pg19))
                File.CreateSymbolicLink(System.IO.Path.Combine(Path, System.IO.Path.GetFileName(file)), file);
            string configPath = System.IO.Path.Combine(Path, "tokenizer_config.json");
            var config = JsonNode.Parse(File.ReadAllText(configPath))!.AsObject();
            change(config);
            File.Delete(configPath);
            File.WriteAllText(configPath, config.ToJsonString());
        }

        public string Path { get; } = Directory.CreateTempSubdirectory("longctx-test-").FullName;

        public void Dispose() => Directory.Delete(Path, recursive: true);
    }
}
