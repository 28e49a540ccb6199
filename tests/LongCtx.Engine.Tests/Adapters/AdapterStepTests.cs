using System.Text.Json;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Runtime;
using LongCtx.Engine.Tests.Files;
using LongCtx.Engine.Tests.Models;

namespace LongCtx.Engine.Tests.Adapters;

/// <summary>Steps in which sequences have adapters: the right numbers, and the same bits whatever else is in the batch.</summary>
public sealed class AdapterStepTests(ITestOutputHelper output) : IDisposable
{
    static readonly AttentionPolicy Full = new(0, 1, 1, 0, 1);

    /// <summary>Odd sizes: no dimension of the low-rank path is a multiple of a register but those that the model file demands.</summary>
    static readonly DecoderConfig Model = TinyModel.Decoder with { HiddenSize = 40, QueryHeadCount = 5, KeyValueHeadCount = 1, FeedForwardSize = 72, LayerCount = 3, VocabularySize = 50 };

    readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    /// <summary>Float32 weights, or Q8_0 ones, whose activations are int8.</summary>
    ModelSource Open(TensorType type)
    {
        if (type.BlockSize() > 1) return ModelSource.Open(_directory.Write("tiny.gguf", TinyModel.Gguf(TinyModel.Decoder, type).ToArray()));
        _directory.Write("config.json", TinyModel.DecoderJson()
            .Replace("\"hidden_size\": 32", "\"hidden_size\": 40").Replace("\"intermediate_size\": 64", "\"intermediate_size\": 72").Replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3")
            .Replace("\"num_attention_heads\": 4", "\"num_attention_heads\": 5").Replace("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 1").Replace("\"vocab_size\": 16", "\"vocab_size\": 50"));
        _directory.Write("model.safetensors", SafetensorsWriter.Write(TinyModel.Tensors(Model, ModelFormat.HuggingFace, type).Select(Livelier)));
        return ModelSource.Open(_directory.Path);

        // Norm weights near 1 and larger matrices, so that every part of the pass matters to the logits.
        static TestTensor Livelier(TestTensor t)
        {
            float[] x = new float[t.Shape.Aggregate(1L, (a, b) => a * b)];
            Dequantizer.ToFloat32(t.Type, t.Bytes, x);
            for (int i = 0; i < x.Length; i++) x[i] = t.Shape.Length == 1 ? 1 + x[i] : 2 * x[i];
            return TestTensor.Of(t.Name, t.Type, t.Shape, x);
        }
    }

    static float[] Logits(CpuModelRunner runner, int[] tokens, LoraWeights? adapter, int chunk = 1000, LoraWeights? later = null, int laterFrom = int.MaxValue)
    {
        using var sequence = new KvSequence(runner.Pool, Full) { Adapter = adapter };
        using var batch = new StepBatch();
        float[] last = [];
        for (int at = 0, count; at < tokens.Length; at += count)
        {
            if (at == laterFrom) sequence.Adapter = later;
            count = Math.Min(chunk, tokens.Length - at);
            if (at < laterFrom) count = Math.Min(count, laterFrom - at);
            batch.Clear();
            batch.Add(sequence, tokens.AsSpan(at, count), LogitsKind.Last);
            runner.Step(batch);
            last = batch.Logits(0).ToArray();
        }

        return last;
    }

    static int[] Tokens(int count, int seed, int vocabulary)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(vocabulary))];
    }

    public static TheoryData<int, LoraTargets> RanksAndTargets => new()
    {
        { 1, LoraTargets.All }, { 3, LoraTargets.All }, { 8, LoraTargets.All }, { 13, LoraTargets.All }, { 40, LoraTargets.All },
        { 4, LoraTargets.Query }, { 4, LoraTargets.Key }, { 4, LoraTargets.Value }, { 4, LoraTargets.Output }, { 4, LoraTargets.Gate }, { 4, LoraTargets.Up }, { 4, LoraTargets.Down },
        { 9, LoraTargets.Query | LoraTargets.Value | LoraTargets.Down }, { 2, LoraTargets.Key | LoraTargets.Up },
    };

    [Theory]
    [MemberData(nameof(RanksAndTargets))]
    public void Logits_WithAnAdapter_AreThoseOfTheNaiveTwin(int rank, LoraTargets targets)
    {
        const int seed = 41;
        using ModelSource source = Open(TensorType.F32);
        using var runner = CpuModelRunner.Load(source, 2, 1L << 22);
        var naive = new NaiveDecoder(source);
        LoraWeights adapter = PeftAdapter.Random(source.Decoder!, seed, rank, alpha: rank, targets, spread: 1 / MathF.Sqrt(rank)), other = PeftAdapter.Random(source.Decoder!, seed + 1, rank, alpha: rank, targets, spread: 1 / MathF.Sqrt(rank));
        int[] tokens = Tokens(19, seed, 50);
        (string Name, float[] Actual, double[] Expected)[] cases =
        [
            ("one adapter", Logits(runner, tokens, adapter), naive.Logits(tokens, [.. tokens.Select(_ => adapter)])),
            ("another from token 7 on", Logits(runner, tokens, adapter, 5, other, 7), naive.Logits(tokens, [.. tokens.Select((_, i) => i < 7 ? adapter : other)])),
            ("none from token 7 on", Logits(runner, tokens, adapter, 4, null, 7), naive.Logits(tokens, [.. tokens.Select((_, i) => i < 7 ? adapter : null)])),
        ];
        double noise = Worst(naive.Logits(tokens, new LoraWeights?[tokens.Length]), Logits(runner, tokens, null));
        double[] unadapted = naive.Logits(tokens, new LoraWeights?[tokens.Length]);
        foreach ((string name, float[] actual, double[] expected) in cases)
        {
            double worst = Worst(expected, actual), effect = Worst(unadapted, expected.Select(x => (float)x)), size = expected.Max(Math.Abs);
            output.WriteLine($"rank {rank}, {targets}, {name}: largest difference {worst:E2} of {size:F2}; the adapter changes a logit by up to {effect:F3}; without one {noise:E2}");
            // The cache's 11 bits, which this model of large scores makes more of; what the adapter does is far beyond that.
            Assert.True(worst < 4e-3 * size, $"{name}: a logit is {worst} off at a size of {size}");
            Assert.True(effect > 50 * worst, $"{name}: the adapter does nothing to be seen: {effect}");
        }

        static double Worst(IEnumerable<double> a, IEnumerable<float> b) => a.Zip(b, (x, y) => Math.Abs(x - y)).Max();
    }

    [Theory]
    [InlineData(TensorType.F32)]
    [InlineData(TensorType.Q8_0)]
    public void Step_OfAnyMixOfAdapters_GivesEachRowTheBitsThatItHasAlone(TensorType type)
    {
        const int seed = 20261121;
        var random = new Random(seed);
        using ModelSource source = Open(type);
        DecoderConfig config = source.Decoder!;
        LoraWeights?[] adapters =
        [
            null, PeftAdapter.Random(config, 1), PeftAdapter.Random(config, 2, rank: 8), PeftAdapter.Random(config, 3, rank: 11, targets: LoraTargets.Query | LoraTargets.Up),
            PeftAdapter.Random(config, 4, rank: 2, targets: LoraTargets.Down), PeftAdapter.Random(config, 5, rank: 20),
        ];
        using var alone = CpuModelRunner.Load(source, 1, 1L << 22);
        foreach (int threads in (int[])[1, 2, 3])
        {
            using var runner = CpuModelRunner.Load(source, threads, 1L << 24, stepTokensMax: 128);
            for (int round = 0; round < 12; round++)
            {
                int sequences = random.Next(1, 14);
                var cases = Enumerable.Range(0, sequences).Select(i => (
                    Tokens: Tokens(random.Next(1, 60), random.Next(), config.VocabularySize), First: adapters[random.Next(adapters.Length)], Later: adapters[random.Next(adapters.Length)],
                    Cache: new KvSequence(runner.Pool, Full), At: new int[1])).ToArray();
                var logits = new float[sequences][];
                using var batch = new StepBatch();
                for (bool goesOn = true; goesOn;)
                {
                    batch.Clear();
                    List<int> entries = [];
                    int room = 128;
                    for (int i = 0; i < sequences; i++)
                    {
                        var c = cases[i];
                        int left = c.Tokens.Length - c.At[0], half = c.Tokens.Length / 2;
                        if (left == 0 || room == 0 || random.Next(4) == 0) continue;
                        c.Cache.Adapter = c.At[0] < half ? c.First : c.Later;
                        int count = Math.Min(Math.Min(room, random.Next(1, 30)), c.At[0] < half ? half - c.At[0] : left);
                        batch.Add(c.Cache, c.Tokens.AsSpan(c.At[0], count), random.Next(3) == 0 ? LogitsKind.All : LogitsKind.Last);
                        c.At[0] += count;
                        room -= count;
                        entries.Add(i);
                    }

                    if (entries.Count > 0) runner.Step(batch);
                    for (int e = 0; e < entries.Count; e++) logits[entries[e]] = batch.Logits(e)[^config.VocabularySize..].ToArray();
                    goesOn = cases.Any(c => c.At[0] < c.Tokens.Length);
                }

                for (int i = 0; i < sequences; i++)
                {
                    var c = cases[i];
                    float[] expected = Logits(alone, c.Tokens, c.Tokens.Length < 2 ? c.Later : c.First, 1000, c.Later, c.Tokens.Length < 2 ? int.MaxValue : c.Tokens.Length / 2);
                    Assert.True(expected.AsSpan().SequenceEqual(logits[i]), $"seed {seed}, {type}, {threads} threads, round {round}: sequence {i} of {sequences} has other bits than alone");
                    c.Cache.Dispose();
                }

                Assert.Equal((runner.Pool.BlockCount, 0), (runner.Pool.FreeCount, runner.Pool.Adapters.Count));
            }
        }
    }

    [Fact]
    public void Step_UnderAnAdapterWithBOfZero_GivesTheBasesNumbers()
    {
        using ModelSource source = Open(TensorType.F32);
        using var runner = CpuModelRunner.Load(source, 2, 1L << 22);
        int[] tokens = Tokens(33, 9, 50);
        float[] expected = Logits(runner, tokens, null);
        Assert.Equal(expected, Logits(runner, tokens, PeftAdapter.Random(source.Decoder!, 1, spread: 0)));
        Assert.Equal(expected, Logits(runner, tokens, new LoraWeights(new(source.Decoder!, 8, 8, LoraTargets.All))));
        Assert.NotEqual(expected, Logits(runner, tokens, PeftAdapter.Random(source.Decoder!, 1)));
        Assert.Equal(expected, Logits(runner, tokens, null)); // and nothing of it stays
    }

    [Fact]
    public void Step_UnderAnotherModelsAdapter_IsRefused()
    {
        using ModelSource source = Open(TensorType.F32);
        using var runner = CpuModelRunner.Load(source, 1, 1L << 22);
        foreach (DecoderConfig other in (DecoderConfig[])[Model with { LayerCount = 2 }, Model with { FeedForwardSize = 80 }, Model with { HiddenSize = 48 }])
            Assert.Contains("does not fit the model", Assert.Throws<ArgumentException>(() => Logits(runner, [1, 2], PeftAdapter.Random(other, 1))).Message);
        Assert.Equal(runner.Pool.BlockCount, runner.Pool.FreeCount);
    }

    [Fact]
    public void Packed_OfNumbersThatAreNotFinite_IsRefused()
    {
        foreach (float bad in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity])
            foreach (bool inA in (bool[])[true, false])
            {
                LoraWeights weights = PeftAdapter.Random(Model, 1);
                (inA ? weights.A(2, LoraTargets.Down) : weights.B(2, LoraTargets.Down))[5] = bad;
                Assert.Contains("not finite", Assert.Throws<LongCtxException>(() => weights.Packed).Message);
            }
    }

    /// <summary>
    /// PyTorch and PEFT in float32 (Golden/README.md). The model's weights are dequantised here too, to f16: activations of 8 bits would hide what the
    /// adapter does, which is a sixth of a logit on average.
    /// </summary>
    [Fact]
    public void Logits_OfThePeftGolden_EqualPyTorchs()
    {
        using ModelSource quantized = ModelSource.Open(Repository.SmolLM2);
        List<TestTensor> tensors = [.. quantized.File.Tensors.Values.Select(Dequantized)];
        using ModelSource source = ModelSource.Of(new MemoryModelFile(tensors), quantized.Format, quantized.Decoder!);
        using var runner = CpuModelRunner.Load(source, 2, 1L << 28);
        using JsonDocument prompts = JsonDocument.Parse(File.ReadAllText(Repository.Golden("smollm2/prompts.json")));
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(Repository.Golden("smollm2/peft_logits.json")));
        LoraWeights adapter = PeftDirectory.Read(Repository.Golden("smollm2/peft_adapter"), source.Decoder!);
        int[] ids = [.. prompts.RootElement[0].GetProperty("ids").EnumerateArray().Select(x => x.GetInt32())];
        float[] adapted = Logits(runner, ids, adapter), plain = Logits(runner, ids, null);

        double worst = 0, effect = 0;
        foreach (JsonElement pair in golden.RootElement.GetProperty("top").EnumerateArray())
        {
            int id = pair[0].GetInt32();
            worst = Math.Max(worst, Math.Abs(adapted[id] - pair[1].GetDouble()));
            effect = Math.Max(effect, Math.Abs(adapted[id] - plain[id]));
        }

        output.WriteLine($"largest difference of a logit {worst:F4}; the adapter changes one by up to {effect:F4}");
        Assert.True(worst < 0.03, $"a logit differs by {worst}");
        Assert.True(effect > 0.2, $"the adapter changes no logit by more than {effect}");

        TestTensor Dequantized(TensorInfo t)
        {
            float[] numbers = new float[t.ElementCount];
            Dequantizer.ToFloat32(t.Type, quantized.File.Bytes(t), numbers);
            return TestTensor.Of(t.Name, t.Shape.Length > 1 ? TensorType.F16 : TensorType.F32, t.Shape, numbers);
        }
    }
}
