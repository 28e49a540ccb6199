using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Files;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Tests.Adapters;
using LongCtx.Engine.Tests.Files;

namespace LongCtx.Engine.Tests.States;

/// <summary>Sequences that were saved and loaded into another engine, beside those that went on: every bit has to be the same.</summary>
public sealed class SavedSequenceTests : IAsyncLifetime
{
    static readonly Dictionary<string, string> Labels = new() { ["conversation"] = "conv_ü", ["seq"] = "17" };
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;
    readonly TemporaryDirectory _directory = new();
    readonly InferenceEngine _here = new(new EngineOptions { Threads = 2, KvMemoryBytes = 64 << 20 });
    readonly InferenceEngine _there = new(new EngineOptions { Threads = 1, KvMemoryBytes = 64 << 20, PrefillChunk = 48 });
    DecoderModel _model = null!, _other = null!;
    int[] _text = [];

    public async ValueTask InitializeAsync()
    {
        _model = await _here.LoadDecoderAsync(Repository.Pg19, "pg19-7m");
        _other = await _there.LoadDecoderAsync(Repository.Pg19, "the same under another name");
        _text = _model.Tokenizer.Encode(string.Concat(Enumerable.Range(0, 300).Select(i => $"The {i}th captain looked at the sea and said nothing of it. ")));
    }

    public async ValueTask DisposeAsync()
    {
        await _here.DisposeAsync();
        await _there.DisposeAsync();
        _directory.Dispose();
    }

    /// <summary>The five presets for this model, rules that cross and evict within a few tokens, and one whose window ends at turns inside W.</summary>
    public static TheoryData<string> Rules =>
        [.. PolicyOptions.Presets.Select(p => new PolicyOptions(p).Resolve(512, p == "endless" ? 90 : 0).ToString()), "4,64,2,700,16", "4,16,4,64,4", "70,64,4,166,32"];

    static async Task<(List<int> Ids, List<float> Logprobs)> GoOnAsync(InferenceEngine engine, Sequence sequence, int[] tokens, int max, int[]? turns = null)
    {
        Generation generation = engine.Submit(new()
        {
            Sequence = sequence, Tokens = tokens, TurnStarts = turns ?? [], MaxTokens = max, TopLogprobs = 2,
            Sampling = new() { Temperature = 0.8f, Seed = 11, FrequencyPenalty = 0.5f, RepetitionPenalty = 1.1f },
        });
        List<int> ids = [];
        List<float> logprobs = [];
        await foreach (GeneratedToken token in generation.Tokens.ReadAllAsync())
        {
            ids.Add(token.Id);
            logprobs.AddRange([token.Info!.Logprob!.Value, .. token.Info.Top.Select(t => t.Logprob)]);
        }

        await generation.Completion;
        return (ids, logprobs);
    }

    Task<LoadedSequence> LoadAsync(string path, AttentionPolicy policy, LoraWeights? adapter = null) => _there.LoadSequenceAsync(_other, path, policy, adapter, Cancellation);

    /// <summary>A bias on some of the newest keys, which are seen for a while; the engine is idle.</summary>
    static void SetBiases(Sequence sequence, Random random)
    {
        KvMemory memory = ((CpuModelRunner)sequence.Model.Runner).Memory;
        for (int i = 0; i < 10; i++)
        {
            long j = sequence.Cache.Count - 1 - random.Next((int)Math.Min(sequence.Cache.Count - sequence.Cache.FarCount, 20));
            BlockTable table = j < sequence.Policy.Sinks ? sequence.Cache.SinksNear : sequence.Cache.Near;
            memory.SetBias(table[j / 64], random.Next(8), random.Next(2), (int)(j % 64), random.NextSingle() * 4 - 2);
        }
    }

    [Theory]
    [MemberData(nameof(Rules))]
    public async Task Load_OfASavedSequence_GoesOnWithTheSameBits(string rule)
    {
        const int seed = 20261122;
        var random = new Random(seed);
        AttentionPolicy policy = PolicyOptions.ParseRule(rule);
        int longest = (int)(policy.LengthMax(512) ?? 1500) - 120;
        foreach (int length in (int[])[1, random.Next(2, 64), 64, random.Next(65, 300), random.Next(300, Math.Min(900, longest)), longest])
        {
            string at = $"seed {seed}, rule {rule}, length {length}";
            int prompt = Math.Max(1, length - random.Next(30));
            int[] turns = random.Next(4) == 0 ? [] : [.. Enumerable.Range(0, prompt / 9 + 1).Select(i => 9 * i)];
            Sequence sequence = _here.CreateSequence(_model, policy);
            int early = random.Next(2) * prompt / 3; // under another version before
            LoraWeights? newest = random.Next(3) > 0 ? PeftAdapter.Random(_model.Config, 2, rank: 3) : null;
            if (early > 0)
            {
                sequence.SetAdapter(PeftAdapter.Random(_model.Config, 1));
                await _here.Submit(new() { Sequence = sequence, Tokens = _text.AsMemory(0, early), FeedOnly = true }).Completion;
            }

            sequence.SetAdapter(newest);
            await GoOnAsync(_here, sequence, _text[early..prompt], Math.Max(1, length - prompt), [.. turns.Where(t => t >= early).Select(t => t - early)]); // leaves the last token pending
            if (random.Next(2) == 0) SetBiases(sequence, random);
            if (random.Next(3) == 0) await _here.Submit(new() { Sequence = sequence, Tokens = _text.AsMemory(5, 3), FeedOnly = true }).Completion; // none pending
            string path = _directory.File("state.safetensors");

            SavedSequence saved = await _here.SaveAsync(sequence, path, Labels, Cancellation);
            Assert.Equal((at, sequence.Count, new FileInfo(path).Length), (at, saved.Tokens, saved.Bytes));
            LoadedSequence loaded = await LoadAsync(path, policy, newest);
            Sequence twin = loaded.Sequence;
            Assert.Equal(Labels, loaded.Labels);
            Assert.Equal((at, sequence.Count, sequence.HasPending, sequence.Window), (at, twin.Count, twin.HasPending, twin.Window));
            Assert.Equal(sequence.TurnStarts, twin.TurnStarts);
            Assert.Equal((at, sequence.Cache.OldestAdapter), (at, twin.Cache.OldestAdapter));
            string again = _directory.File("again.safetensors");
            await _there.SaveAsync(twin, again, Labels, Cancellation);
            CompareFiles(path, again, at);

            int[] tokens = sequence.HasPending ? [] : _text[9..10];
            await CompareAsync(sequence, twin, at + ", going on", s => GoOnAsync(EngineOf(s), s, tokens, 8));
            foreach (int cut in (int[])[3, 40])
            {
                Sequence?[] forks = [await ForkAsync(sequence, cut), await ForkAsync(twin, cut)];
                Assert.Equal((at, cut, forks[0] is null), (at, cut, forks[1] is null));
                if (forks[0] is null) continue;
                await CompareAsync(forks[0]!, forks[1]!, $"{at}, a fork of all but {cut}", s => GoOnAsync(EngineOf(s), s, _text[20..25], 10, [0]));
                forks[0]!.Drop();
                forks[1]!.Drop();
            }

            await CompareAsync(sequence, twin, at + ", the next turn", s => GoOnAsync(EngineOf(s), s, _text[40..70], 60, [0, 12]));
            Assert.Equal(sequence.Window, twin.Window);
            sequence.Drop();
            twin.Drop();
        }

        Assert.Equal(0, await BlocksUsedAsync(_here));
        Assert.Equal(0, await BlocksUsedAsync(_there));
    }

    InferenceEngine EngineOf(Sequence sequence) => sequence.Model == _model ? _here : _there;

    async Task<Sequence?> ForkAsync(Sequence sequence, int cut)
    {
        int length = (int)sequence.Count - cut;
        return length < 1 ? null : await EngineOf(sequence).ReuseAsync(sequence, length, _text.AsMemory(0, Math.Min(length, 1024)));
    }

    static async Task CompareAsync(Sequence a, Sequence b, string at, Func<Sequence, Task<(List<int> Ids, List<float> Logprobs)>> run)
    {
        var (left, right) = (await run(a), await run(b));
        Assert.True(left.Ids.SequenceEqual(right.Ids) && left.Logprobs.SequenceEqual(right.Logprobs), $"{at}: {string.Join(' ', right.Ids)} instead of {string.Join(' ', left.Ids)}");
    }

    /// <summary>All metadata and numbers are the same. A table whose blocks once had biases may say so or not where they are all 0 now.</summary>
    static void CompareFiles(string path, string again, string at)
    {
        using SafetensorsFile a = SafetensorsFile.Open(path), b = SafetensorsFile.Open(again);
        Assert.Equal(a.Metadata, b.Metadata);
        foreach (string name in a.Tensors.Keys.Union(b.Tensors.Keys))
        {
            byte[] left = Bytes(a, name), right = Bytes(b, name);
            if (left.Length == 0) left = new byte[right.Length];
            Assert.True(left.AsSpan(0, right.Length == 0 ? 0 : left.Length).SequenceEqual(right) && (right.Length > 0 || !left.AsSpan().ContainsAnyExcept((byte)0)), $"{at}: {name} is another when it is saved again");
        }

        static byte[] Bytes(SafetensorsFile file, string name) => file.Tensors.TryGetValue(name, out TensorInfo? t) ? file.Bytes(t).ToArray() : name.EndsWith(".biases", StringComparison.Ordinal) ? [] : [1];
    }

    static async Task<int> BlocksUsedAsync(InferenceEngine engine)
    {
        await engine.BetweenSteps(() => 0); // behind everything that was posted
        return engine.Status.BlocksUsed;
    }

    [Fact]
    public async Task Save_OfEverySequenceLength_RestoresEveryBlock()
    {
        // One token at a time over every boundary of blocks, sinks, crossing and eviction.
        AttentionPolicy policy = new(66, 64, 4, 192, 4);
        Sequence sequence = _here.CreateSequence(_model, policy);
        for (int count = 1; count < 400; count++)
        {
            await _here.Submit(new() { Sequence = sequence, Tokens = _text.AsMemory(count, 1), TurnStarts = count % 11 == 0 ? [0] : [], FeedOnly = true }).Completion;
            if (count > 140 && count % 64 is > 4 and < 60 && count % 4 != 0) continue;
            string path = _directory.File("state.safetensors");
            await _here.SaveAsync(sequence, path, Labels, Cancellation);
            Sequence twin = (await LoadAsync(path, policy)).Sequence;
            Sequence original = (await _here.ReuseAsync(sequence, sequence.Count, ReadOnlyMemory<int>.Empty))!;
            await CompareAsync(original, twin, $"{count} tokens", s => GoOnAsync(EngineOf(s), s, _text[(count + 1)..(count + 2)], 1));
            original.Drop();
            twin.Drop();
        }
    }
}
