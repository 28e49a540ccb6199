using System.Diagnostics;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Training;

namespace LongCtx.Cli.Bench;

/// <summary>
/// Conversations that decode in an engine while their adapters learn, one update after another: what the scheduler makes of both. Rounds with and without learning
/// take turns, each from the same caches. Texts are random tokens.
/// </summary>
internal sealed class TrainingLoad : IDisposable
{
    /// <summary>Tokens of a round, of each conversation: as many as lie unread in its channel, so nobody has to read meanwhile.</summary>
    public const int Steps = 128;

    /// <summary>Tokens of an update, and those before it.</summary>
    const int Chunk = 128, Prefix = 128;

    /// <summary>Rounds of each kind for each of the runs: a hundredth of the steps is several.</summary>
    const int RoundsPerRun = 3;

    /// <summary>So small that random text does not make it diverge.</summary>
    static readonly TrainingOptions s_options = new() { LearningRate = 1e-4 };

    readonly InferenceEngine _engine;
    readonly DecoderModel _model;
    readonly DecodeLoad _load;
    readonly Sequence[] _prompts;
    readonly LoraState[] _states;
    readonly Random _random = new(3);
    readonly int[] _newest; // what penalties would look at

    TrainingLoad(InferenceEngine engine, DecoderModel model, AttentionPolicy policy, DecodeLoad load, int adapters, int rank)
    {
        (_engine, _model, _load) = (engine, model, load);
        _newest = new int[Math.Min(load.Context, 1024)];
        _prompts = [.. Enumerable.Range(0, load.Conversations).Select(_ => engine.CreateSequence(model, policy))];
        _states = [.. Enumerable.Range(0, Math.Min(adapters, load.Conversations)).Select(i => LoraState.Create(new(model.Config, rank, rank, LoraTargets.All), (ulong)i))];
    }

    /// <param name="path">Of the model.</param>
    /// <param name="policy">Of all conversations.</param>
    /// <param name="load">Conversations and their context.</param>
    /// <param name="adapters">Conversations that have one.</param>
    /// <param name="rank">Of the adapters, on all projections.</param>
    /// <param name="threads">Of the engine.</param>
    /// <param name="slice">Of learning between two steps.</param>
    /// <param name="runs">More give more rounds.</param>
    /// <param name="cancellation">Ends it.</param>
    public static async Task<TrainingFigure> MeasureAsync(
        string path, AttentionPolicy policy, DecodeLoad load, int adapters, int rank, int threads, TimeSpan slice, int runs, CancellationToken cancellation)
    {
        long memory;
        using (var files = DecoderFiles.Open(path)) memory = files.KvBytes(policy, load.Context + Steps, Workload.ChunkMax, 2 * load.Conversations); // a sequence and its copy
        await using var engine = new InferenceEngine(new()
        {
            Threads = threads, TrainingSlice = slice, KvMemoryBytes = Math.Max(memory, 1 << 20), RunningMax = load.Conversations, UnreadTokensMax = Steps,
        });
        using var workload = new TrainingLoad(engine, await ModelFiles.LoadDecoderAsync(engine, path), policy, load, adapters, rank);
        await workload.PrefillAsync(cancellation);
        Rounds learning = new(), resting = new();
        await workload.RoundAsync(learning: true, new(), cancellation); // allocates what the first update needs
        await workload.RoundAsync(learning: false, new(), cancellation);
        for (int round = 0; round < runs * RoundsPerRun; round++)
        {
            if (round % 2 == 0) await workload.RoundAsync(learning: false, resting, cancellation);
            await workload.RoundAsync(learning: true, learning, cancellation);
            if (round % 2 == 1) await workload.RoundAsync(learning: false, resting, cancellation);
        }

        return new(load.Conversations, workload._states.Length, rank, load.Context, Chunk, slice.TotalMilliseconds,
            Median.Of(learning.TokensPerSecond), Quantile.Of(learning.StepMs, 50), Quantile.Of(learning.StepMs, 99), learning.StepMs.Max(),
            Median.Of(resting.TokensPerSecond), Quantile.Of(resting.StepMs, 50), Quantile.Of(resting.StepMs, 99), resting.StepMs.Max(),
            learning.LearningSeconds > 0 ? learning.Updates * Chunk / learning.LearningSeconds : 0, learning.Updates, learning.Rejected);
    }

    /// <summary>What the rounds of one kind have shown.</summary>
    sealed class Rounds
    {
        public List<double> TokensPerSecond { get; } = [];

        public List<double> StepMs { get; } = [];

        /// <summary>Until the last update of each round.</summary>
        public double LearningSeconds { get; set; }

        public int Updates { get; set; }

        public int Rejected { get; set; }
    }

    /// <summary>The contexts, and a token more, so that every round gets copies.</summary>
    async Task PrefillAsync(CancellationToken cancellation) => await Task.WhenAll(_prompts.Select(prompt =>
        _engine.Submit(new() { Sequence = prompt, Tokens = RandomTokens(_load.Context + 1), FeedOnly = true }).Completion)).WaitAsync(cancellation);

    async Task RoundAsync(bool learning, Rounds rounds, CancellationToken cancellation)
    {
        var sequences = new Sequence[_prompts.Length];
        for (int i = 0; i < sequences.Length; i++)
        {
            sequences[i] = await _engine.ReuseAsync(_prompts[i], _load.Context, _newest) ?? throw new InvalidOperationException($"the context of {_load} is no longer held");
            if (i < _states.Length) sequences[i].SetAdapter(_states[i].Weights);
        }

        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        try
        {
            Generation[] replies = [.. sequences.Select(s => _engine.Submit(new() { Sequence = s, Tokens = RandomTokens(1), Sampling = new() { Temperature = 0 }, MaxTokens = Steps }))];
            long began = Stopwatch.GetTimestamp();
            Task<List<(bool IsRejected, long At)>>[] learners = [.. Enumerable.Range(0, learning ? _states.Length : 0).Select(i => Task.Run(() => LearnAsync(i, sequences[i], end.Token), CancellationToken.None))];
            await Task.WhenAll(replies.Select(r => r.Completion)).WaitAsync(cancellation);
            long ended = Stopwatch.GetTimestamp();
            await end.CancelAsync();
            Count(replies, rounds);
            (bool IsRejected, long At)[] updates = [.. (await Task.WhenAll(learners)).SelectMany(u => u).Where(u => u.At <= ended)];
            if (updates.Length == 0) return;
            rounds.Updates += updates.Length;
            rounds.Rejected += updates.Count(u => u.IsRejected);
            rounds.LearningSeconds += Stopwatch.GetElapsedTime(began, updates.Max(u => u.At)).TotalSeconds;
        }
        finally
        {
            foreach (Sequence sequence in sequences) sequence.Drop();
        }
    }

    /// <summary>One update after another, each used as soon as it is there.</summary>
    async Task<List<(bool IsRejected, long At)>> LearnAsync(int conversation, Sequence sequence, CancellationToken end)
    {
        var updates = new List<(bool, long)>();
        int[] text = RandomTokens(Prefix + Chunk);
        try
        {
            while (true)
            {
                TrainingOutcome outcome = await _engine.TrainAsync(new(_model, "bench", _states[conversation], new(text, Prefix), s_options), end);
                updates.Add((outcome.Result.State is null, Stopwatch.GetTimestamp()));
                if (outcome.Result.State is not { } next) continue;
                _states[conversation] = next;
                sequence.SetAdapter(next.Weights);
            }
        }
        catch (OperationCanceledException) when (end.IsCancellationRequested)
        {
            return updates;
        }
    }

    /// <summary>Times between tokens of the conversation that began last, until the first one ends: in between all of them take part in every step.</summary>
    void Count(Generation[] replies, Rounds rounds)
    {
        long[][] times = [.. replies.Select(r => ReadTimes(r))];
        long[] last = times.MaxBy(t => t[0])!;
        long until = times.Min(t => t[^1]);
        long[] steps = [.. last.TakeWhile(at => at <= until)];
        foreach ((long from, long to) in steps.Zip(steps.Skip(1))) rounds.StepMs.Add(Seconds(from, to) * 1000);
        rounds.TokensPerSecond.Add(replies.Length * (steps.Length - 1) / Seconds(steps[0], steps[^1]));

        double Seconds(long from, long to) => _engine.Options.Time.GetElapsedTime(from, to).TotalSeconds;
    }

    static long[] ReadTimes(Generation reply)
    {
        var times = new List<long>(Steps);
        while (reply.Tokens.TryRead(out GeneratedToken token)) times.Add(token.At);
        return [.. times];
    }

    int[] RandomTokens(int count)
    {
        var tokens = new int[count];
        lock (_random)
            for (int i = 0; i < count; i++) tokens[i] = _random.Next(_model.Config.VocabularySize);
        return tokens;
    }

    public void Dispose()
    {
        foreach (Sequence prompt in _prompts) prompt.Drop();
    }
}
