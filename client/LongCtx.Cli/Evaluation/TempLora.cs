using System.Diagnostics;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Training;

namespace LongCtx.Cli.Evaluation;

/// <summary>How a text is learned and scored.</summary>
/// <param name="Chunk">Tokens that are scored, and then learned, at once.</param>
/// <param name="Prefix">Tokens before a chunk while it is learned.</param>
/// <param name="Context">Tokens before a chunk while it is scored.</param>
/// <param name="CacheReuse">Further chunks that a context serves.</param>
/// <param name="Policy">Null: contexts are computed anew.</param>
/// <param name="IsCached">Chunks are learned against the live cache.</param>
/// <param name="Guard">Whether a tenth of each chunk is held out.</param>
internal sealed record TempLoraSetup(int Chunk, int Prefix, int Context, int CacheReuse, AttentionPolicy? Policy, bool IsCached, bool Guard, TrainingOptions Options);

internal sealed record TempLoraRange(int From, int To, double BasePpl, double LoraPpl);

/// <param name="Scoring">Of one of the two runs, in operations.</param>
/// <param name="Training">Of all updates.</param>
/// <param name="TrainingPerToken">For each token that was scored.</param>
internal sealed record TempLoraFlops(double Scoring, double Training, double TrainingPerToken);

/// <param name="Tokens">Scored ones.</param>
/// <param name="GainPercent">100·(1 − lora_ppl / base_ppl): positive is better.</param>
/// <param name="TrainSeconds">Part of <paramref name="Seconds"/> that learning took.</param>
/// <param name="Rejected">Updates that were thrown away.</param>
internal sealed record TempLoraReport(
    int Tokens, double BasePpl, double LoraPpl, double GainPercent, IReadOnlyList<TempLoraRange> ByPosition, double Seconds, double TrainSeconds, TempLoraFlops Flops,
    int Rejected, double PeakMemoryMb);

/// <summary>
/// Perplexity of a text with and without a temporary adapter that learns it chunk by chunk, each after it was scored. The first chunk is neither scored nor learned,
/// a partial last one is left out.
/// </summary>
internal sealed class TempLora(CpuModelRunner runner, int[] text, TempLoraSetup setup) : IDisposable
{
    const int HeldOutPart = 10;

    /// <summary>Where figures by position are cut: a chunk counts where it begins.</summary>
    static readonly int[] s_cuts = [0, 20_000, 50_000, 100_000, 200_000, 300_000, 500_000, int.MaxValue];

    readonly LoraTrainer _trainer = new(runner);
    readonly ChunkScorer _base = new(runner, text, setup.Policy, setup.Context, setup.CacheReuse), _lora = new(runner, text, setup.Policy, setup.Context, setup.CacheReuse);

    /// <param name="state">Version 0.</param>
    /// <param name="cost">Of the model.</param>
    /// <param name="progress">Told how many tokens are done.</param>
    /// <param name="cancellation">Ends it between chunks.</param>
    public TempLoraReport Measure(LoraState state, TempLoraCost cost, Action<long> progress, CancellationToken cancellation)
    {
        var ranges = new List<(int Cut, int Tokens, double Base, double Lora)>();
        double trained = 0, flops = 0;
        int rejected = 0;
        long began = Stopwatch.GetTimestamp();
        for (int start = setup.Chunk; start + setup.Chunk <= text.Length; start += setup.Chunk)
        {
            cancellation.ThrowIfCancellationRequested();
            double plain = _base.Score(start, setup.Chunk, null);
            LoraWeights? adapter = state.Steps == 0 ? null : state.Weights;
            using KvSequence? before = setup.IsCached ? _lora.Before(start, adapter).Fork() : null;
            double adapted = _lora.Score(start, setup.Chunk, adapter);
            int range = Array.FindLastIndex(s_cuts, cut => cut <= start);
            if (ranges.Count > 0 && ranges[^1].Cut == range) ranges[^1] = (range, ranges[^1].Tokens + setup.Chunk, ranges[^1].Base + plain, ranges[^1].Lora + adapted);
            else ranges.Add((range, setup.Chunk, plain, adapted));

            TrainingResult learned = Learn(state, start, before, ref trained);
            flops += learned.Flops.Total;
            if (learned.State is { } next) state = next;
            else rejected++;
            progress(start + setup.Chunk);
        }

        double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        int scored = ranges.Sum(r => r.Tokens), end = setup.Chunk + scored;
        TempLoraRange[] byPosition = [.. ranges.Select(r => new TempLoraRange(s_cuts[r.Cut], Math.Min(s_cuts[r.Cut + 1], end), Math.Exp(r.Base / r.Tokens), Math.Exp(r.Lora / r.Tokens)))];
        double basePpl = Math.Exp(ranges.Sum(r => r.Base) / scored), loraPpl = Math.Exp(ranges.Sum(r => r.Lora) / scored);
        (long tokens, long keys) = _base.Work;
        double scoring = 2 * cost.Weights * tokens + 4.0 * cost.Layers * cost.Width * keys;
        return new(scored, basePpl, loraPpl, 100 * (1 - loraPpl / basePpl), byPosition, seconds, trained, new(scoring, flops, flops / scored), rejected, ProcessMemory.PeakMegabytes);
    }

    TrainingResult Learn(LoraState state, int start, KvSequence? cache, ref double seconds)
    {
        // Against a cache the chunk alone, with the token before it, which has no keys there yet.
        int first = cache is null ? Math.Max(0, start - setup.Prefix) : start - 1;
        var chunk = new TrainingChunk(text.AsMemory(first..(start + setup.Chunk)), Math.Max(1, start - first), setup.Guard ? setup.Chunk / HeldOutPart : 0, cache);
        long began = Stopwatch.GetTimestamp();
        using TrainingRun run = _trainer.Begin(state, chunk, setup.Options);
        while (!run.Slice(TimeSpan.MaxValue))
        {
        }

        seconds += Stopwatch.GetElapsedTime(began).TotalSeconds;
        return run.Result;
    }

    public void Dispose()
    {
        _trainer.Dispose();
        _base.Dispose();
        _lora.Dispose();
    }
}
