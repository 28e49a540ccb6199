using System.Diagnostics;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Runtime;

namespace LongCtx.Cli.Evaluation;

/// <summary>Predicted tokens number <paramref name="From"/>+1 to <paramref name="To"/>; <paramref name="Nll"/> is their sum in nats.</summary>
internal sealed record PerplexityRange(int From, int To, double Ppl, double Nll);

/// <param name="Tokens">Tokens read; all but the first are predicted, each from everything before it that the policy keeps.</param>
/// <param name="MeanNll">Nats per predicted token.</param>
internal sealed record PerplexityReport(
    int Tokens, double MeanNll, double Ppl, double TokensPerSecond, double PeakMemoryMb, IReadOnlyList<PerplexityRange> ByPosition);

internal static class Perplexity
{
    public static PerplexityReport Measure(
        IModelRunner runner, AttentionPolicy policy, ReadOnlySpan<int> tokens, int chunk, Action<long> progress, CancellationToken cancellation)
    {
        int predicted = tokens.Length - 1, step = PositionRanges.Step(predicted), done = 0;
        var ranges = new List<PerplexityRange>();
        double total = 0, inRange = 0;
        using var sequence = new KvSequence(runner.Pool, policy);
        using var batch = new StepBatch();
        long start = Stopwatch.GetTimestamp();
        while (done < predicted)
        {
            cancellation.ThrowIfCancellationRequested();
            int count = Math.Min(chunk, predicted - done);
            batch.Clear();
            int entry = batch.AddScored(sequence, tokens.Slice(done, count), tokens.Slice(done + 1, count));
            runner.Step(batch);
            foreach (float logprob in batch.Logprobs(entry))
            {
                inRange -= logprob;
                if (++done % step != 0 && done != predicted) continue;
                int from = ranges.Count * step;
                ranges.Add(new(from, done, Math.Exp(inRange / (done - from)), inRange));
                total += inRange;
                inRange = 0;
            }

            progress(done);
        }

        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds, mean = total / predicted;
        return new(tokens.Length, mean, Math.Exp(mean), predicted / seconds, ProcessMemory.PeakMegabytes, ranges);
    }
}
