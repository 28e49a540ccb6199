using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Tests.Files;
using LongCtx.Engine.Training;

namespace LongCtx.Engine.Tests.Training;

/// <summary>Random models that are small and awkward: grouped heads, biases, head norms, sizes that fill no register.</summary>
internal sealed class TrainingModel : IDisposable
{
    public const int Seed = 1848;

    /// <summary>Sizes that are no multiples of 16.</summary>
    public static readonly DecoderConfig Awkward = new()
    {
        Architecture = "qwen3", LayerCount = 2, HiddenSize = 22, QueryHeadCount = 4, KeyValueHeadCount = 2, HeadDimension = 10, FeedForwardSize = 37,
        VocabularySize = 41, NormEpsilon = 1e-5, TrainedLength = 256, RopeTheta = 100, RopeDimension = 10, TiedEmbeddings = false,
        HasQkvBias = true, HasAttentionOutputBias = true, HasFeedForwardBias = true, HasQkNorm = true,
    };

    /// <summary>Blocks of 32 weights, for quantised types.</summary>
    public static readonly DecoderConfig Blocks = Awkward with
    {
        HiddenSize = 64, QueryHeadCount = 4, KeyValueHeadCount = 1, HeadDimension = 16, RopeDimension = 16, FeedForwardSize = 96, VocabularySize = 64,
        TiedEmbeddings = true, HasQkvBias = false, HasAttentionOutputBias = false, HasFeedForwardBias = false, HasQkNorm = false,
    };

    readonly Random _random = new(Seed);

    public TrainingModel(DecoderConfig config, TensorType type = TensorType.F32, TensorType? dequantized = null, int threads = 2, ModelFormat format = ModelFormat.HuggingFace)
    {
        List<TestTensor> tensors = [];
        foreach (var (slot, layer, shape) in ModelShapes.Of(config))
        {
            string name = TensorNames.OfDecoder(format, slot, layer)!;
            bool isMatrix = shape.Length > 1, isNorm = slot is TensorSlot.AttentionNorm or TensorSlot.FeedForwardNorm or TensorSlot.OutputNorm or TensorSlot.QueryNorm or TensorSlot.KeyNorm;
            var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
            float spread = isMatrix ? 1.5f / MathF.Sqrt(shape[1]) : 0.3f;
            for (int i = 0; i < values.Length; i++) values[i] = (isNorm ? 1 : 0) + spread * (2 * _random.NextSingle() - 1);
            if (format == ModelFormat.Gguf && slot is (TensorSlot.Query or TensorSlot.Key)) values = Interleave(values, config.HeadDimension, config.HiddenSize);
            TestTensor tensor = TestTensor.Of(name, isMatrix ? type : TensorType.F32, shape, values);
            if (isMatrix && dequantized is { } plain)
            {
                Dequantizer.ToFloat32(type, tensor.Bytes, values);
                tensor = TestTensor.Of(name, plain, shape, values);
            }

            tensors.Add(tensor);
        }

        Source = new("memory", format, new MemoryModelFile(tensors), config, null);
        Runner = CpuModelRunner.Load(Source, threads, 1 << 20);
        Trainer = new(Runner);
    }

    /// <summary>As llama.cpp's converter does it: of a head of d rows, rows i and i + d/2 become file rows 2i and 2i + 1.</summary>
    static float[] Interleave(float[] matrix, int d, int columns)
    {
        var file = new float[matrix.Length];
        for (int row = 0; row < matrix.Length / columns; row++)
        {
            int i = row % d, to = row - i + (i < d / 2 ? 2 * i : 2 * (i - d / 2) + 1);
            matrix.AsSpan(row * columns, columns).CopyTo(file.AsSpan(to * columns));
        }

        return file;
    }

    public ModelSource Source { get; }

    public CpuModelRunner Runner { get; }

    public LoraTrainer Trainer { get; }

    public static int[] Tokens(DecoderConfig config, int count)
    {
        var random = new Random(Seed + 1);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(config.VocabularySize))];
    }

    /// <summary>A state whose B is not zero, so that every path has a gradient.</summary>
    public LoraState State(int rank, LoraTargets targets = LoraTargets.All)
    {
        LoraState state = LoraState.Create(new(Source.Decoder!, rank, alpha: 2 * rank, targets), Seed);
        var random = new Random(Seed + 2);
        for (int layer = 0; layer < Source.Decoder!.LayerCount; layer++)
            foreach (LoraTargets target in state.Layout.PresentTargets)
                foreach (ref float x in state.Weights.B(layer, target)) x = 0.2f * (2 * random.NextSingle() - 1);
        return state;
    }

    public TrainingResult Train(LoraState state, TrainingChunk chunk, TrainingOptions options)
    {
        using TrainingRun run = Trainer.Begin(state, chunk, options);
        while (!run.Slice(TimeSpan.MaxValue))
        {
        }

        return run.Result;
    }

    public static float[] Numbers(LoraWeights weights)
    {
        List<float> all = [];
        for (int layer = 0; layer < weights.Layout.Config.LayerCount; layer++)
            foreach (LoraTargets target in weights.Layout.PresentTargets) all.AddRange([.. weights.A(layer, target), .. weights.B(layer, target)]);
        return [.. all];
    }

    public void Dispose()
    {
        Trainer.Dispose();
        Runner.Dispose();
        Source.Dispose();
    }
}
