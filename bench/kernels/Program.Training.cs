using System.Diagnostics;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Models;
using LongCtx.Engine.Runtime;
using LongCtx.Engine.Training;

namespace LongCtx.Kernels.Bench;

internal static unsafe partial class Program
{
    /// <summary>Chunk tokens per second of updates with two epochs, and the time of each kind of unit in the quickest of them.</summary>
    static void Training(string[] args)
    {
        bool isCached = args.Contains("cached");
        args = [.. args.Where(a => a != "cached")];
        int Number(int index, int otherwise) => args.Length > index ? int.Parse(args[index]) : otherwise;
        string model = args.Length > 1 ? args[1] : "models/pg19-7m";
        int chunk = Number(2, 256), prefix = Number(3, 256), rank = Number(4, 16), threads = Number(5, 1), updates = Number(6, 8);
        using ModelSource source = ModelSource.Open(model);
        using var runner = CpuModelRunner.Load(source, threads, 1 << 28);
        using var trainer = new LoraTrainer(runner);
        var random = new Random(1);
        int[] tokens = [.. Enumerable.Range(0, prefix + chunk).Select(_ => random.Next(runner.VocabularySize))];
        using var cache = new KvSequence(runner.Pool, new(0, 1, 1, 0, 1));
        using var batch = new StepBatch();
        for (int at = 0; isCached && at < prefix; at += 256)
        {
            batch.Clear();
            batch.Add(cache, tokens.AsSpan(at, Math.Min(256, prefix - at)), LogitsKind.None);
            runner.Step(batch);
        }

        TrainingChunk trained = isCached ? new(tokens.AsMemory(prefix), 1, HeldOut: 0, cache) : new(tokens, prefix);
        LoraState state = LoraState.Create(new(source.Decoder!, rank, rank, LoraTargets.All), 1);
        double best = double.MaxValue;
        (double Seconds, TrainingUnit Unit) longest = default;
        Dictionary<TrainingUnit, (double Seconds, int Count)> profile = [];
        TrainingFlops flops = default;
        for (int i = 0; i < updates; i++)
        {
            Dictionary<TrainingUnit, (double Seconds, int Count)> units = [];
            long started = Time(threads);
            (double Seconds, TrainingUnit Unit) slowest = default;
            using TrainingRun run = trainer.Begin(state, trained, new());
            for (long from = Time(threads); run.Advance(out TrainingUnit unit);)
            {
                long now = Time(threads);
                double seconds = (now - from) * 1e-9;
                (double sum, int count) = units.GetValueOrDefault(unit);
                units[unit] = (sum + seconds, count + 1);
                if (seconds > slowest.Seconds) slowest = (seconds, unit);
                from = now;
            }

            double total = (Time(threads) - started) * 1e-9;
            state = run.Result.State!;
            if (total >= best) continue;
            (best, profile, longest, flops) = (total, units, slowest, run.Result.Flops);
        }

        Console.WriteLine($"{model}: chunk {chunk}, prefix {prefix}{(isCached ? " cached" : "")}, rank {rank}, 2 epochs, {threads} threads: {chunk / best:F0} tokens/s, {flops.Total / best * 1e-9:F0} GFLOP/s, longest unit {1000 * longest.Seconds:F2} ms ({longest.Unit}), peak memory {Process.GetCurrentProcess().PeakWorkingSet64 / 1e6:F0} MB");
        Console.WriteLine($"GFLOP: forward {flops.Forward * 1e-9:F2}, backward {flops.Backward * 1e-9:F2}, low rank {flops.LowRank * 1e-9:F2}");
        foreach ((TrainingUnit unit, (double seconds, int count)) in profile.OrderByDescending(p => p.Value.Seconds))
            Console.WriteLine($"  {unit,-24} {1000 * seconds,8:F1} ms {100 * seconds / best,5:F1} %  {count,5} units of {1000 * seconds / count:F3} ms");
    }

    /// <summary>Nanoseconds: of the processor for one thread, so that other processes do not count, of the wall clock for several.</summary>
    static long Time(int threads) => threads == 1 ? ThreadNanoseconds() : (long)(Stopwatch.GetTimestamp() * (1e9 / Stopwatch.Frequency));
}
