using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Models;
using LongCtx.Engine.Runtime;
using LongCtx.Engine.Training;

namespace LongCtx.Engine.Tests.Training;

/// <summary>Training against the live cache: what it holds is a constant, what the chunk's queries see of it is the policy's.</summary>
public sealed class CachedTrainingTests(ITestOutputHelper output)
{
    const int CachedTokens = 100, ChunkTokens = 85;

    /// <summary>The cache holds halves, and the runner its own keys too.</summary>
    const double LossTolerance = 1.5e-4, GradientTolerance = 5e-3;

    public static TheoryData<bool, int, int, int, int, int> Policies() => new()
    {
        // awkward sizes, S, W, G, C, B
        { false, 0, 1, 1, 0, 1 },    // all
        { true, 4, 1, 1, 64, 8 },    // sinks and window, which moves over the cache and over the chunk
        { false, 4, 16, 4, 96, 8 },  // keys of the cache and of the chunk cross the neighbour boundary, and some are evicted
        { true, 0, 32, 4, 0, 4 },    // the same without an end
        { false, 4, 98, 2, 0, 2 },   // two of the sinks cross while the chunk goes by, and none of the chunk's keys
    };

    [Theory]
    [MemberData(nameof(Policies))]
    public void LossAndGradients_AgainstALiveCache_AreThoseOfANaiveModel(bool awkward, int sinks, int neighbours, int group, int capacity, int block)
    {
        var policy = new AttentionPolicy(sinks, neighbours, group, capacity, block);
        DecoderConfig config = awkward ? TrainingModel.Awkward : TrainingModel.Blocks;
        using var model = new TrainingModel(config);
        int[] tokens = TrainingModel.Tokens(config, CachedTokens + ChunkTokens);
        using var sequence = new KvSequence(model.Runner.Pool, policy);
        using var batch = new StepBatch();
        foreach (int[] part in tokens[..CachedTokens].Chunk(37))
        {
            batch.Clear();
            batch.Add(sequence, part, LogitsKind.None);
            model.Runner.Step(batch);
        }

        using KvSequence cache = sequence.Fork();
        double inference = NllOfChunk(model.Runner, sequence, tokens); // the live sequence goes on, and releases what it no longer needs
        LoraState state = model.State(3), zero = LoraState.Create(state.Layout, 1);
        TrainingChunk chunk = new(tokens.AsMemory(CachedTokens), 1, HeldOut: 0, cache);
        var options = new TrainingOptions { Epochs = 1, LearningRate = 1e-9 };
        double baseLoss = model.Train(zero, chunk, options).Losses[0];
        double loss = model.Train(state, chunk, options).Losses[0];
        float[] gradient = TrainingModel.Numbers(model.Trainer.Gradient!);

        var twin = new DoubleModel(model.Source);
        double[] adapter = [.. TrainingModel.Numbers(state.Weights).Select(x => (double)x)];
        double expected = Twin(policy), other = twin.Loss(state.Layout, adapter, tokens, CachedTokens + 1, tokens.Length, CachedTokens, new(0, 1, 1, 0, 1));
        output.WriteLine($"seed {TrainingModel.Seed}, {policy}: base {baseLoss:F6}, runner {inference:F6}; adapter {loss:F6}, twin {expected:F6}, under full attention {other:F6}");
        Assert.Equal(inference, baseLoss, LossTolerance);
        Assert.Equal(expected, loss, LossTolerance);
        if (!policy.IsUnlimited || group > 1) Assert.NotEqual(other, loss, 5 * LossTolerance); // otherwise the test would not tell them apart

        double rms = Math.Sqrt(gradient.Sum(g => (double)g * g) / gradient.Length), worst = 0;
        const double Step = 1e-4;
        for (int layer = 0; layer < config.LayerCount; layer++)
            foreach (LoraTargets target in state.Layout.PresentTargets)
                foreach (int at in (int[])[(int)state.Layout.A(layer, target) + 5, (int)state.Layout.B(layer, target) + 17])
                {
                    double kept = adapter[at];
                    adapter[at] = kept + Step;
                    double above = Twin(policy);
                    adapter[at] = kept - Step;
                    double below = Twin(policy);
                    adapter[at] = kept;
                    worst = Math.Max(worst, Math.Abs((above - below) / (2 * Step) - gradient[at]) / rms);
                }

        output.WriteLine($"largest deviation of a gradient {worst:E2} of the root mean square");
        Assert.True(worst < GradientTolerance, $"a gradient differs by {worst} of the root mean square");

        double Twin(AttentionPolicy seen) => twin.Loss(state.Layout, adapter, tokens, CachedTokens + 1, tokens.Length, CachedTokens, seen);
    }

    /// <summary>With all keys in sight and nothing adapted yet, both modes see the same; only the gradient by way of the prefix is stopped.</summary>
    [Fact]
    public void Loss_UnderTheFullPolicy_EqualsRecompute()
    {
        using ModelSource source = ModelSource.Open(Repository.Pg19);
        using var runner = CpuModelRunner.Load(source, 2, 1 << 24);
        using var trainer = new LoraTrainer(runner);
        int[] tokens = [.. ModelTokenizer.Load(source).Encode(File.ReadAllText(Repository.Golden("books/3125.txt"))).Take(400)];
        using var sequence = new KvSequence(runner.Pool, new(0, 1, 1, 0, 1));
        using var batch = new StepBatch();
        batch.Add(sequence, tokens.AsSpan(0, 200), LogitsKind.None);
        runner.Step(batch);
        LoraState state = LoraState.Create(new(source.Decoder!, 4, 4, LoraTargets.All), 3);
        TrainingResult recomputed = Train(new(tokens, 201)), cached = Train(new(tokens.AsMemory(200), 1, HeldOut: 0, sequence));
        output.WriteLine($"losses {recomputed.Losses[0]:F6} and {cached.Losses[0]:F6}, gradient norms {recomputed.GradientNorms[0]:F6} and {cached.GradientNorms[0]:F6}, GFLOP {recomputed.Flops.Total * 1e-9:F2} and {cached.Flops.Total * 1e-9:F2}");
        Assert.Equal(recomputed.Losses[0], cached.Losses[0], LossTolerance);
        Assert.InRange(cached.GradientNorms[0], 0.5 * recomputed.GradientNorms[0], 2 * recomputed.GradientNorms[0]);
        Assert.NotEqual(recomputed.GradientNorms[0], cached.GradientNorms[0], 1e-4);
        Assert.True(cached.Flops.Total < 0.65 * recomputed.Flops.Total);

        TrainingResult Train(TrainingChunk chunk)
        {
            using TrainingRun run = trainer.Begin(state, chunk, new() { Epochs = 1 });
            while (!run.Slice(TimeSpan.MaxValue))
            {
            }

            return run.Result;
        }
    }

    static double NllOfChunk(CpuModelRunner runner, KvSequence sequence, int[] tokens)
    {
        using var batch = new StepBatch();
        batch.AddScored(sequence, tokens.AsSpan(CachedTokens, ChunkTokens - 1), tokens.AsSpan(CachedTokens + 1));
        runner.Step(batch);
        double sum = 0;
        foreach (float logprob in batch.Logprobs(0)) sum -= logprob;
        return sum / (ChunkTokens - 1);
    }
}
