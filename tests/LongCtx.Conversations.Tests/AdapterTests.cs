using LongCtx.Conversations.Local;
using LongCtx.Conversations.Storage.Tests;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Models;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Tests;

namespace LongCtx.Conversations.Tests;

/// <summary>Static adapters in a running host: models of their own, which share nothing with their parent but its weights.</summary>
public sealed class AdapterTests : IAsyncLifetime
{
    const string Tenant = "a";

    readonly string _directory = Directory.CreateTempSubdirectory("longctx-adapters").FullName;
    LocalConversationHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        var engine = new InferenceEngine(new EngineOptions { Threads = 2, KvMemoryBytes = 64 << 20 });
        DecoderModel small = await engine.LoadDecoderAsync(Repository.Pg19, "small");
        EncoderModel encoder = await engine.LoadEncoderAsync(Repository.MiniLM, "encoder");
        _host = new(engine, [small], [encoder], new());
        Write("one", small.Config, 1);
        Write("two", small.Config, 2);
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    string PathOf(string name) => Path.Combine(_directory, name);

    void Write(string name, DecoderConfig config, int seed)
    {
        var random = new Random(seed);
        var weights = new LoraWeights(new(config, 4, 4, LoraTargets.All));
        for (int layer = 0; layer < config.LayerCount; layer++)
            foreach (LoraTargets target in weights.Layout.PresentTargets)
            {
                foreach (ref float x in weights.A(layer, target)) x = (random.NextSingle() - 0.5f) / 4;
                foreach (ref float x in weights.B(layer, target)) x = (random.NextSingle() - 0.5f) / 4;
            }

        PeftDirectory.Write(weights, PathOf(name), "small");
    }

    Task<Reply> SayAsync(string? model, params ChatMessage[] messages) =>
        Client.CompleteAsync(_host, Tenant, new() { Model = model, Messages = messages, MaxTokens = 24, Sampling = SamplingOptions.Greedy with { LogitBias = Enumerable.Range(0, 3).ToDictionary(id => id, _ => -100f) } });

    static readonly ChatMessage Question = new("user", "Tell me of the sea and of the ships that went down in the great storm.");

    [Fact]
    public async Task LoadedAdapters_AreModelsWithAParent_AndNobodysReplyChanges()
    {
        Reply plain = await SayAsync("small", Question);
        ModelDescription one = await _host.LoadAdapterAsync(new("one", PathOf("one"))), two = await _host.LoadAdapterAsync(new("two", PathOf("two"), "small"));

        Assert.Equal(("small:one", "small", "decoder"), (one.Id, one.Parent, one.Kind));
        Assert.Equal(["small", "small:one", "small:two", "encoder"], (await _host.ListModelsAsync()).Select(m => m.Id));
        Reply alone = await SayAsync("small:one", Question);
        Assert.NotEqual(plain.Text, alone.Text);
        Assert.Equal(0, alone.Usage.CachedTokens); // the parent's keys are of no use to it

        // All together, three of each: in one batch, each as alone.
        string other = (await SayAsync(two.Id, Question)).Text;
        Assert.NotEqual(alone.Text, other);
        string[] models = [.. Enumerable.Repeat<string[]>(["small", "small:one", "small:two"], 3).SelectMany(m => m)];
        Reply[] replies = await Task.WhenAll(models.Select(model => SayAsync(model, Question)));
        Assert.Equal(models.Select(model => model switch { "small" => plain.Text, "small:one" => alone.Text, _ => other }), replies.Select(r => r.Text));

        // A chat goes on from its own cache.
        Reply next = await SayAsync("small:one", Question, new("assistant", alone.Text), new("user", "And then?"));
        Assert.True(next.Usage.CachedTokens > alone.Usage.PromptTokens, $"{next.Usage.CachedTokens} of {next.Usage.PromptTokens} tokens were cached");
    }

    [Fact]
    public async Task AnUnloadedAdapter_ServesWhoUsesIt_AndNobodyElse()
    {
        await _host.LoadAdapterAsync(new("one", PathOf("one")));
        string expected = (await SayAsync("small:one", Question)).Text;
        string text = "";
        await foreach (CompletionEvent e in _host.CompleteAsync("b", new() { Model = "small:one", Messages = [Question], MaxTokens = 24, Sampling = SamplingOptions.Greedy with { LogitBias = Enumerable.Range(0, 3).ToDictionary(id => id, _ => -100f) } }))
        {
            if (e is CompletionStarted) await _host.UnloadAdapterAsync("small:one");
            if (e is CompletionDelta delta) text += delta.Text;
        }

        Assert.Equal(expected, text);
        Assert.Equal(ErrorCode.ModelNotFound, (await Assert.ThrowsAsync<LongCtxException>(() => SayAsync("small:one", Question))).Code);
        Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<LongCtxException>(() => _host.UnloadAdapterAsync("small:one").AsTask())).Code);
        Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<LongCtxException>(() => _host.UnloadAdapterAsync("small").AsTask())).Code);

        await _host.LoadAdapterAsync(new("again", PathOf("one"))); // the same numbers under another name: what is cached is as good
        Assert.Equal(expected, (await SayAsync("small:again", Question)).Text);
        Assert.True((await SayAsync("small:again", Question)).Usage.CachedTokens > 0);
    }

    [Fact]
    public async Task Adapters_ThatCannotBe_AreRefused()
    {
        await _host.LoadAdapterAsync(new("one", PathOf("one")));
        await RefusedAsync(new("one", PathOf("two")), ErrorCode.Conflict, "there is a model small:one already");
        await RefusedAsync(new("", PathOf("one")), ErrorCode.InvalidRequest, "cannot name an adapter");
        await RefusedAsync(new("a/b", PathOf("one")), ErrorCode.InvalidRequest, "cannot name an adapter");
        await RefusedAsync(new(new('a', 65), PathOf("one")), ErrorCode.InvalidRequest, "cannot name an adapter");
        await RefusedAsync(new("x", PathOf("none")), ErrorCode.InvalidRequest, "cannot be read");
        await RefusedAsync(new("x", PathOf("one"), "gpt"), ErrorCode.ModelNotFound, "gpt");
        await RefusedAsync(new("x", PathOf("one"), "encoder"), ErrorCode.InvalidRequest, "encoder");
        await RefusedAsync(new("x", PathOf("one"), "small:one"), ErrorCode.InvalidRequest, "is an adapter itself");

        async Task RefusedAsync(LoadAdapter request, ErrorCode code, string says)
        {
            var e = await Assert.ThrowsAsync<LongCtxException>(() => _host.LoadAdapterAsync(request).AsTask());
            Assert.Equal(code, e.Code);
            Assert.Contains(says, e.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task AConversationUnderAnAdapter_ComesBackWithIt()
    {
        var store = new NaiveStore();
        string kv = PathOf("kv"), id;
        string second;
        await using (DurableHost uninterrupted = await OpenAsync(new NaiveStore(), null))
        {
            string twin = await uninterrupted.CreateAsync("small:one");
            await uninterrupted.SayAsync(twin, "1", Question.Content, 200);
            second = (await uninterrupted.SayAsync(twin, "2", "And then?", 20)).Text;
        }

        await using (DurableHost first = await OpenAsync(store, kv))
        {
            id = await first.CreateAsync("small:one");
            await first.SayAsync(id, "1", Question.Content, 200);
        }

        await using (DurableHost without = await DurableHost.OpenAsync(store, kv))
            Assert.Equal(ErrorCode.ModelNotFound, (await Assert.ThrowsAsync<LongCtxException>(() => without.SayAsync(id, "2", "And then?", 20))).Code);
        await using DurableHost restored = await OpenAsync(store, kv);
        Turn turn = await restored.SayAsync(id, "2", "And then?", 20);
        Assert.Equal((second, RestoreGrade.Exact), (turn.Text, turn.Usage.Restored));

        async Task<DurableHost> OpenAsync(NaiveStore journal, string? directory)
        {
            DurableHost host = await DurableHost.OpenAsync(journal, directory);
            await host.Local.LoadAdapterAsync(new("one", PathOf("one")));
            return host;
        }
    }
}
