using System.Diagnostics;
using System.Numerics.Tensors;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Runtime;

namespace LongCtx.Cli.Bench;

/// <summary>
/// Times steps of one runner, without scheduler and network. Prompts are random tokens, the same in every run: the speed of a dense
/// model does not depend on what it reads.
/// </summary>
internal sealed class Workload(IModelRunner runner, AttentionPolicy policy, int runs, CancellationToken cancellation) : IDisposable
{
    public const int ChunkMax = 256;

    /// <summary>Steps of one timed run: long enough for the clock, short enough that the context hardly grows.</summary>
    const int DecodeSteps = 32;

    const int AllocationSteps = 9;

    /// <summary>Timed runs, for each of the others, where single steps are looked at: a hundredth of the steps is several.</summary>
    const int RunsForSteps = 4;

    /// <summary>Tokens beyond the context that a timed run appends.</summary>
    public const int StepsMax = DecodeSteps + 1;

    readonly StepBatch _batch = new();

    /// <summary>Managed bytes that a usual decode step allocates, the most of all loads; null before the first.</summary>
    public double? AllocatedBytesPerStep { get; private set; }

    public double PrefillTokensPerSecond(int tokens)
    {
        int[] prompt = RandomTokens(tokens, seed: 1);
        return Median.Of(runs, () =>
        {
            using var sequence = new KvSequence(runner.Pool, policy);
            long start = Stopwatch.GetTimestamp();
            Feed(sequence, prompt, LogitsKind.Last);
            return tokens / Stopwatch.GetElapsedTime(start).TotalSeconds;
        });
    }

    /// <summary>Tokens per second of all conversations together; each takes its most likely token, as generation does.</summary>
    public double DecodeTokensPerSecond(DecodeLoad load)
    {
        var prompts = new KvSequence[load.Conversations];
        try
        {
            for (int c = 0; c < prompts.Length; c++)
            {
                prompts[c] = new KvSequence(runner.Pool, policy);
                Feed(prompts[c], RandomTokens(load.Context, seed: 100 + c), LogitsKind.None);
            }

            OnCopies(prompts, CountAllocations);
            return Median.Of(runs, () => load.Conversations * DecodeSteps / OnCopies(prompts, Time));
        }
        finally
        {
            foreach (KvSequence? sequence in prompts) sequence?.Dispose();
        }
    }

    /// <summary>The same with adapters, the i-th conversation with the i-th (and again from the first on); runs with and without take turns.</summary>
    public AdapterFigure DecodeWithAdapters(DecodeLoad load, LoraWeights[] adapters)
    {
        var prompts = new KvSequence[load.Conversations];
        try
        {
            for (int c = 0; c < prompts.Length; c++)
            {
                prompts[c] = new KvSequence(runner.Pool, policy);
                Feed(prompts[c], RandomTokens(load.Context, seed: 100 + c), LogitsKind.None);
            }

            List<double> with = [], without = [], stepsWith = [], stepsWithout = [];
            OnCopies(prompts, CountAllocations);
            OnCopies(prompts, CountAllocations, adapters);
            for (int run = 0; run < runs * RunsForSteps; run++)
            {
                without.Add(load.Conversations * DecodeSteps / OnCopies(prompts, (s, t) => Time(s, t, stepsWithout)));
                with.Add(load.Conversations * DecodeSteps / OnCopies(prompts, (s, t) => Time(s, t, stepsWith), adapters));
            }

            double adapted = Median.Of(with), plain = Median.Of(without);
            return new(load.Conversations, Math.Min(adapters.Length, load.Conversations), adapters[0].Layout.Rank, load.Context, adapted, Quantile.Of(stepsWith, 99), plain, Quantile.Of(stepsWithout, 99), 100 * (1 - adapted / plain));
        }
        finally
        {
            foreach (KvSequence? sequence in prompts) sequence?.Dispose();
        }
    }

    /// <summary>
    /// Milliseconds per token of one stream, at each of the ascending positions. All are timed at the end, taking turns: what else the
    /// machine does meanwhile hits them alike.
    /// </summary>
    public (int Position, double MsPerToken)[] Stream(int[] positions, Action<long> progress)
    {
        var stops = new KvSequence[positions.Length];
        using var stream = new KvSequence(runner.Pool, policy);
        try
        {
            var random = new Random(2);
            for (int i = 0; i < stops.Length; i++)
            {
                while (stream.Count < positions[i])
                {
                    cancellation.ThrowIfCancellationRequested();
                    var chunk = new int[(int)Math.Min(Math.Min(ChunkMax, runner.StepTokensMax), positions[i] - stream.Count)];
                    for (int t = 0; t < chunk.Length; t++) chunk[t] = random.Next(runner.VocabularySize);
                    Step(stream, chunk, LogitsKind.None);
                    progress(stream.Count);
                }

                stops[i] = stream.Fork();
                OnCopies([stream], CountAllocations);
            }

            double[][] times = [.. stops.Select(_ => new double[runs])];
            for (int run = 0; run < runs; run++)
                for (int i = 0; i < stops.Length; i++) times[i][run] = 1000 * OnCopies([stops[i]], Time) / DecodeSteps;
            return [.. positions.Select((position, i) => (position, Median.Of(times[i])))];
        }
        finally
        {
            foreach (KvSequence? stop in stops) stop?.Dispose();
        }
    }

    double Time(KvSequence[] sequences, int[] tokens) => Time(sequences, tokens, milliseconds: null);

    /// <summary>Seconds that <see cref="DecodeSteps"/> steps take, and the milliseconds of each.</summary>
    double Time(KvSequence[] sequences, int[] tokens, List<double>? milliseconds)
    {
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < DecodeSteps; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            long before = Stopwatch.GetTimestamp();
            StepTogether(sequences, tokens);
            milliseconds?.Add(Stopwatch.GetElapsedTime(before).TotalMilliseconds);
        }

        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>Also warms up. The median, because a block table grows now and then: once in 64 tokens or more.</summary>
    double CountAllocations(KvSequence[] sequences, int[] tokens)
    {
        double bytes = Median.Of(AllocationSteps, () =>
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            StepTogether(sequences, tokens);
            return GC.GetTotalAllocatedBytes(precise: true) - before;
        });
        AllocatedBytesPerStep = Math.Max(AllocatedBytesPerStep ?? 0, bytes);
        return bytes;
    }

    /// <summary>Measures on copies of the sequences, which stay as they are: every run starts at the same context.</summary>
    double OnCopies(ReadOnlySpan<KvSequence> sequences, Func<KvSequence[], int[], double> measure, LoraWeights[]? adapters = null)
    {
        var copies = new KvSequence[sequences.Length];
        var tokens = new int[sequences.Length];
        for (int c = 0; c < copies.Length; c++)
        {
            copies[c] = sequences[c].Fork();
            copies[c].Adapter = adapters?[c % adapters.Length];
            tokens[c] = 1 + c;
        }

        try
        {
            StepTogether(copies, tokens); // writes into shared blocks: they are copied here, not in the timed steps
            return measure(copies, tokens);
        }
        finally
        {
            foreach (KvSequence copy in copies) copy.Dispose();
        }
    }

    void StepTogether(KvSequence[] sequences, int[] tokens)
    {
        _batch.Clear();
        for (int c = 0; c < sequences.Length; c++) _batch.Add(sequences[c], tokens.AsSpan(c, 1), LogitsKind.Last);
        runner.Step(_batch);
        for (int c = 0; c < sequences.Length; c++) tokens[c] = TensorPrimitives.IndexOfMax<float>(_batch.Logits(c));
    }

    /// <summary>The most likely token after a beginning of one token.</summary>
    public int FirstToken()
    {
        using var sequence = new KvSequence(runner.Pool, policy);
        Step(sequence, [1], LogitsKind.Last);
        return TensorPrimitives.IndexOfMax<float>(_batch.Logits(0));
    }

    void Feed(KvSequence sequence, int[] tokens, LogitsKind lastLogits)
    {
        int chunk = Math.Min(ChunkMax, runner.StepTokensMax);
        for (int done = 0; done < tokens.Length; done += chunk)
        {
            cancellation.ThrowIfCancellationRequested();
            int count = Math.Min(chunk, tokens.Length - done);
            Step(sequence, tokens.AsSpan(done, count), done + count == tokens.Length ? lastLogits : LogitsKind.None);
        }
    }

    void Step(KvSequence sequence, ReadOnlySpan<int> tokens, LogitsKind logits)
    {
        _batch.Clear();
        _batch.Add(sequence, tokens, logits);
        runner.Step(_batch);
    }

    int[] RandomTokens(int count, int seed)
    {
        var random = new Random(seed);
        var tokens = new int[count];
        for (int i = 0; i < count; i++) tokens[i] = random.Next(runner.VocabularySize);
        return tokens;
    }

    public void Dispose() => _batch.Dispose();
}
