using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Models;
using LongCtx.Engine.Training;

namespace LongCtx.Engine.Tests.Training;

public sealed class LoraTrainerTests(ITestOutputHelper output)
{
    static readonly DecoderConfig Config = TrainingModel.Awkward;

    static TrainingChunk Chunk(int heldOut = 0) => new(TrainingModel.Tokens(Config, 90), 40, heldOut);

    [Theory]
    [InlineData(null, 0)]
    [InlineData(0.01, 0)]
    [InlineData(null, 0.1)]
    public void Update_OverThreeChunks_IsAdamWWrittenOut(double? clip, double weightDecay)
    {
        using var model = new TrainingModel(Config);
        var options = new TrainingOptions { LearningRate = 0.01, Beta1 = 0.8, Beta2 = 0.95, Epsilon = 1e-6, GradientClip = clip, WeightDecay = weightDecay, WarmUpChunks = 2, Epochs = 1 };
        LoraState state = model.State(4);
        double[] p = Doubles(state.Weights), m = new double[p.Length], v = new double[p.Length];
        for (int k = 0; k < 3; k++)
        {
            TrainingResult result = model.Train(state, Chunk(), options);
            double[] g = Doubles(model.Trainer.Gradient!);
            double norm = Math.Sqrt(g.Sum(x => x * x)), rate = 0.01 * (k == 0 ? 0.5 : 1);
            Assert.Equal(norm, result.GradientNorms.Single(), 1e-9);
            Assert.Equal(rate, result.LearningRate);
            Assert.True(clip is null || norm > clip, $"the norm {norm} is not clipped: the test shows nothing");
            for (int i = 0; i < p.Length; i++)
            {
                double x = clip is { } max ? g[i] * max / norm : g[i];
                m[i] = 0.8 * m[i] + 0.2 * x;
                v[i] = 0.95 * v[i] + 0.05 * x * x;
                p[i] -= rate * weightDecay * p[i];
                p[i] -= rate * (m[i] / (1 - Math.Pow(0.8, k + 1))) / (Math.Sqrt(v[i] / (1 - Math.Pow(0.95, k + 1))) + 1e-6);
            }

            state = result.State!;
            Assert.Equal((k + 1, k + 1), (state.Steps, state.Chunks));
            double[] actual = Doubles(state.Weights);
            double worst = p.Zip(actual, (a, b) => Math.Abs(a - b)).Max();
            output.WriteLine($"chunk {k}: gradient norm {norm:F4}, largest difference of a number {worst:E1}");
            Assert.True(worst < 2e-7, $"chunk {k}: a number differs by {worst}");
            p = actual; // what a float holds
            m = Doubles(state.FirstMoment);
            v = Doubles(state.SecondMoment);
        }
    }

    [Fact]
    public void Bits_DependNeitherOnThreadsNorOnSlicesNorOnWhatWasTrainedBefore()
    {
        var options = new TrainingOptions { Epochs = 2, Dropout = 0.1, GradientClip = 1 };
        string? expected = null;
        foreach (int threads in (int[])[1, 2, 3])
            foreach (bool slices in (bool[])[false, true])
            {
                using var model = new TrainingModel(Config, threads: threads);
                LoraState state = model.State(5);
                if (slices) model.Train(model.State(7), new(TrainingModel.Tokens(Config, 200), 150), options); // a larger workspace, with other numbers in it
                using TrainingRun run = model.Trainer.Begin(state, Chunk(), options);
                int count = 1;
                while (!run.Slice(slices ? TimeSpan.Zero : TimeSpan.MaxValue)) count++;
                Assert.Equal(slices, count > 100);
                string digest = (run.Result.State ?? throw new InvalidOperationException(run.Result.Rejection)).Weights.Digest;
                output.WriteLine($"{threads} threads, {count} slices: {digest}");
                Assert.Equal(expected ??= digest, digest);
            }
    }

    [Fact]
    public void State_BeforeAnUpdate_StaysAsItIs_AndVersionZeroIsTheBase()
    {
        using var model = new TrainingModel(Config);
        LoraState state = LoraState.Create(new(Config, 4, 4, LoraTargets.All), 9);
        float[] before = TrainingModel.Numbers(state.Weights);
        TrainingChunk chunk = Chunk();
        Assert.Equal(model.Trainer.Evaluate(null, chunk.Tokens, chunk.FirstLabel), model.Trainer.Evaluate(state.Weights, chunk.Tokens, chunk.FirstLabel));
        TrainingResult result = model.Train(state, chunk, new() { LearningRate = 0.01, Epochs = 6 });
        Assert.Equal(before, TrainingModel.Numbers(state.Weights));
        Assert.True(result.Losses[^1] < result.Losses[0] - 0.05, $"loss {string.Join(", ", result.Losses)}: nothing was learnt");
        Assert.Equal(model.Trainer.Evaluate(result.State!.Weights, chunk.Tokens, chunk.FirstLabel), result.Losses[^1], 0.2);
        Assert.Equal(6 * chunk.LabelCount, result.TokensTrained);
    }

    /// <summary>LoRA inputs are dropped by a function of seed, step and place: the loss under that mask has the gradient that is computed.</summary>
    [Fact]
    public void Gradients_UnderDropout_EqualCentralDifferencesUnderTheSameMask()
    {
        using var model = new TrainingModel(Config);
        var options = new TrainingOptions { Dropout = 0.3, Epochs = 1, LearningRate = 1e-9 };
        TrainingChunk chunk = Chunk();
        double loss = model.Train(model.State(3), chunk, options).Losses[0], plain = model.Train(model.State(3), chunk, options with { Dropout = 0 }).Losses[0];
        Assert.NotEqual(plain, loss, 1e-3);
        model.Train(model.State(3), chunk, options);
        float[] gradient = TrainingModel.Numbers(model.Trainer.Gradient!);
        double rms = Math.Sqrt(gradient.Sum(g => (double)g * g) / gradient.Length), worst = 0;
        const float Step = 1e-2f;
        foreach (LoraTargets target in model.State(3).Layout.PresentTargets)
            foreach (bool isA in (bool[])[true, false])
            {
                LoraState state = model.State(3);
                int at = (int)(isA ? state.Layout.A(1, target) : state.Layout.B(1, target)) + 7;
                double difference = (Shifted(Step) - Shifted(-Step)) / (2 * Step);
                worst = Math.Max(worst, Math.Abs(difference - gradient[at]) / rms);

                double Shifted(float step)
                {
                    LoraState shifted = model.State(3);
                    (isA ? shifted.Weights.A(1, target) : shifted.Weights.B(1, target))[7] += step;
                    return model.Train(shifted, chunk, options).Losses[0];
                }
            }

        output.WriteLine($"largest deviation {worst:E2} of the root mean square");
        Assert.True(worst < 0.01, $"a gradient differs by {worst} of the root mean square");
    }

    [Fact]
    public void Update_WithNaNInTheAdapter_IsRejected()
    {
        using var model = new TrainingModel(Config);
        LoraState state = model.State(4);
        state.Weights.A(1, LoraTargets.Up)[3] = float.NaN;
        TrainingResult result = model.Train(state, Chunk(), new());
        output.WriteLine(result.Rejection!);
        Assert.Null(result.State);
        Assert.Contains("not finite", result.Rejection);
        Assert.True(model.Train(model.State(4), Chunk(), new()).State is not null, "the run after a rejected one must work again");
    }

    /// <summary>A trained model on text, which a bad adapter makes worse than guessing.</summary>
    [Theory]
    [InlineData(1.0, 3, 0, "diverged")]
    [InlineData(1e38, 3, 0, "infinite")]
    [InlineData(1.0, 1, 10, "held-out")]
    public void Update_ThatDiverges_IsRejected(double learningRate, int epochs, int heldOut, string reason)
    {
        using ModelSource source = ModelSource.Open(Repository.Pg19);
        using var runner = CpuModelRunner.Load(source, 2, 1 << 20);
        using var trainer = new LoraTrainer(runner);
        int[] tokens = [.. ModelTokenizer.Load(source).Encode(File.ReadAllText(Repository.Golden("books/3125.txt"))).Take(96)];
        using TrainingRun run = trainer.Begin(LoraState.Create(new(source.Decoder!, 4, 4, LoraTargets.All), 5), new(tokens, 32, heldOut), new() { LearningRate = learningRate, Epochs = epochs });
        while (!run.Slice(TimeSpan.MaxValue))
        {
        }

        output.WriteLine($"losses {string.Join(", ", run.Result.Losses)}, held out {run.Result.HeldOutBefore} and {run.Result.HeldOutAfter}: {run.Result.Rejection}");
        Assert.Null(run.Result.State);
        Assert.Contains(reason, run.Result.Rejection);
    }

    [Fact]
    public void HeldOutTokens_AreInNoLossAndNoGradient()
    {
        using var model = new TrainingModel(Config);
        int[] tokens = TrainingModel.Tokens(Config, 90), others = [.. tokens];
        others[85] = (others[85] + 1) % Config.VocabularySize;
        others[89] = (others[89] + 1) % Config.VocabularySize;
        var options = new TrainingOptions { Epochs = 1, LearningRate = 1e-9 };
        TrainingResult first = model.Train(model.State(4), new(tokens, 40, 5), options);
        float[] gradient = TrainingModel.Numbers(model.Trainer.Gradient!);
        TrainingResult second = model.Train(model.State(4), new(others, 40, 5), options);
        Assert.Equal(first.Losses[0], second.Losses[0]);
        Assert.Equal(gradient, TrainingModel.Numbers(model.Trainer.Gradient!));
        Assert.NotEqual(first.HeldOutBefore, second.HeldOutBefore);
    }

    [Fact]
    public void Run_Discarded_FreesTheTrainer_AndASecondOneMeanwhileIsRefused()
    {
        using var model = new TrainingModel(Config);
        LoraState state = model.State(4);
        TrainingRun run = model.Trainer.Begin(state, Chunk(), new());
        Assert.False(run.Slice(TimeSpan.Zero));
        Assert.Throws<InvalidOperationException>(() => run.Result);
        Assert.Throws<InvalidOperationException>(() => model.Trainer.Begin(state, Chunk(), new()));
        run.Dispose();
        Assert.Throws<ObjectDisposedException>(() => run.Slice(TimeSpan.Zero));
        Assert.NotNull(model.Train(state, Chunk(), new()).State);
    }

    [Fact]
    public void BadInput_IsNamed()
    {
        using var model = new TrainingModel(Config);
        LoraState state = model.State(4);
        int[] tokens = TrainingModel.Tokens(Config, 20);
        Assert.Contains("first label", Message(() => model.Trainer.Begin(state, new(tokens, 0), new())));
        Assert.Contains("nothing to learn", Message(() => model.Trainer.Begin(state, new(tokens, 10, 10), new())));
        tokens[3] = Config.VocabularySize;
        Assert.Contains("vocabulary", Message(() => model.Trainer.Begin(state, new(tokens, 10), new())));
        Assert.Contains("for a model of", Message(() => model.Trainer.Begin(LoraState.Create(new(TrainingModel.Blocks, 4, 4, LoraTargets.All), 1), Chunk(), new())));
        foreach (TrainingOptions options in (TrainingOptions[])[
            new() { LearningRate = 0 }, new() { LearningRate = double.NaN }, new() { Beta1 = 1 }, new() { Beta2 = -1 }, new() { Epsilon = 0 },
            new() { WeightDecay = -1 }, new() { GradientClip = 0 }, new() { WarmUpChunks = 0 }, new() { Dropout = 1 }, new() { Epochs = 0 }])
            Assert.Contains("must be", Message(() => model.Trainer.Begin(state, Chunk(), options)));

        static string Message(Action action) => Assert.ThrowsAny<ArgumentException>(action).Message;
    }

    static double[] Doubles(LoraWeights weights) => [.. TrainingModel.Numbers(weights).Select(x => (double)x)];
}
