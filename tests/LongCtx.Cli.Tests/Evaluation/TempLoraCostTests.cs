using LongCtx.Cli.Evaluation;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Training;

namespace LongCtx.Cli.Tests.Evaluation;

/// <summary>The formula against what the engine counts while it trains.</summary>
public sealed class TempLoraCostTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData(256, 256, 16, 1)]
    [InlineData(128, 0, 8, 2)]
    [InlineData(100, 65, 3, 1)]
    [InlineData(64, 300, 32, 1)]
    public void OfUpdate_IsWhatTheEngineCounts(int chunk, int prefix, int rank, int epochs)
    {
        using DecoderFiles files = DecoderFiles.Open("pg19-7m");
        using CpuModelRunner runner = files.Load(threads: 2, new AttentionPolicy(0, 1, 1, 0, 1), tokens: 64, chunk: 64);
        using var trainer = new LoraTrainer(runner);
        int[] text = [.. Enumerable.Range(0, prefix + chunk).Select(i => 1 + 7 * i % 1000)];
        LoraState state = LoraState.Create(new(files.Config, rank, rank, LoraTargets.All), seed: 1);
        using TrainingRun run = trainer.Begin(state, new(text, Math.Max(1, prefix)), new() { Epochs = epochs });
        while (!run.Slice(TimeSpan.MaxValue))
        {
        }

        TrainingFlops counted = run.Result.Flops;
        double paper = chunk * TempLoraCost.Of(files.Config, rank).Training(chunk, prefix, epochs);
        output.WriteLine($"chunk {chunk}, prefix {prefix}, rank {rank}, {epochs} epochs: {counted.Total / 1e9:F3} GFLOP, {100 * (1 - counted.Total / paper):F1} % fewer than the paper's way needs");
        Assert.Equal(TempLoraCost.OfUpdate(files.Config, rank, chunk, prefix, epochs), counted);
    }
}
