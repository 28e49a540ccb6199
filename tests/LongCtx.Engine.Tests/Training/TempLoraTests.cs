using System.Diagnostics;
using System.Text.Json;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Models;
using LongCtx.Engine.Training;

namespace LongCtx.Engine.Tests.Training;

/// <summary>
/// The Temp-LoRA loop against PyTorch's on the same text (Golden/README.md): each chunk is scored given the tokens before it under the newest
/// version, then trained on. The random first A differs, so single chunks differ by a little and their mean hardly.
/// </summary>
public sealed class TempLoraTests(ITestOutputHelper output)
{
    /// <summary>Of the 992 of the golden: the checkout holds the beginning of the book.</summary>
    const int Chunks = 24;

    /// <summary>Relative for the base; percentage points for the gain.</summary>
    const double BaseTolerance = 1e-3, GainTolerance = 1.5;

    [Fact]
    public void Gain_OnTheFirstChunksOfABook_EqualsTheGolden()
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(Repository.Golden("pg19-7m/temp_lora_book.json")));
        JsonElement args = golden.RootElement.GetProperty("args"), chunks = golden.RootElement.GetProperty("chunks");
        int d = args.GetProperty("D").GetInt32(), prefix = args.GetProperty("LT").GetInt32();
        using ModelSource source = ModelSource.Open(Repository.Pg19);
        int[] tokens = ModelTokenizer.Load(source).Encode(File.ReadAllText(Repository.Golden("books/2118.txt")));
        using var runner = CpuModelRunner.Load(source, 2, 1 << 20);
        using var trainer = new LoraTrainer(runner);
        var options = new TrainingOptions { LearningRate = args.GetProperty("lr").GetDouble(), Epochs = args.GetProperty("epochs").GetInt32() };
        LoraState state = LoraState.Create(new(source.Decoder!, args.GetProperty("rank").GetInt32(), args.GetProperty("alpha").GetDouble(), LoraTargets.All), seed: 20261);

        var sums = new double[4];
        long started = Stopwatch.GetTimestamp();
        for (int i = 0; i < Chunks; i++)
        {
            int start = chunks[i][0].GetInt32(), from = Math.Max(0, start - prefix);
            ReadOnlyMemory<int> text = tokens.AsMemory(from, start - from + d);
            using TrainingRun run = trainer.Begin(state, new(text, start - from), options);
            while (!run.Slice(TimeSpan.FromMilliseconds(10)))
            {
            }

            double baseNll = d * trainer.Evaluate(null, text, start - from), adapterNll = d * run.Result.Losses[0]; // before the first step
            state = run.Result.State ?? throw new InvalidOperationException(run.Result.Rejection);
            sums[0] += chunks[i][1].GetDouble();
            sums[1] += chunks[i][2].GetDouble();
            sums[2] += baseNll;
            sums[3] += adapterNll;
        }

        double n = Chunks * d, seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        output.WriteLine($"base {Math.Exp(sums[2] / n):F4} (golden {Math.Exp(sums[0] / n):F4}), adapter {Math.Exp(sums[3] / n):F4} (golden {Math.Exp(sums[1] / n):F4}), gain {Gain(sums[2], sums[3], n):F2} % (golden {Gain(sums[0], sums[1], n):F2} %), {n / seconds:F0} tokens/s with evaluation");
        Assert.Equal(1, Math.Exp((sums[2] - sums[0]) / n), BaseTolerance);
        Assert.Equal(Gain(sums[0], sums[1], n), Gain(sums[2], sums[3], n), GainTolerance);
        Assert.True(sums[3] < sums[2], "the adapter has learnt nothing");
    }

    static double Gain(double baseNll, double adapterNll, double tokens) => 100 * (1 - Math.Exp((adapterNll - baseNll) / tokens));
}
