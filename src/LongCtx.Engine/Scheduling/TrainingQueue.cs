using System.Diagnostics;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Training;

namespace LongCtx.Engine.Scheduling;

internal sealed class TrainingJob(TrainingRequest request, CancellationToken cancellation)
{
    public TrainingRequest Request { get; } = request;

    public CancellationToken Cancellation { get; } = cancellation;

    public TaskCompletionSource<TrainingOutcome> Completion { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Null until it is its turn; begun on another thread, because that allocates much.</summary>
    public Task<TrainingRun>? Run { get; set; }

    /// <summary>What the chunk is learned against; given back when the run ends.</summary>
    public KvSequence? Cache { get; set; }

    public double Seconds { get; set; }
}

/// <summary>
/// Updates that wait to be trained, and the one that is. Whose tenant has had the least time comes next; one that has used up its share waits until time has
/// passed. Engine thread only.
/// </summary>
internal sealed class TrainingQueue(EngineOptions options, Action wake)
{
    /// <summary>How much of its share a tenant may save up, or overdraw, in seconds of the engine.</summary>
    const double BurstSeconds = 10;

    readonly List<TrainingJob> _waiting = [];
    readonly Dictionary<string, (double Used, double Credit, long At)> _tenants = new(StringComparer.Ordinal);
    TrainingJob? _current;

    public void Add(TrainingJob job) => _waiting.Add(job);

    public bool IsEmpty => _current is null && _waiting.Count == 0;

    /// <summary>
    /// Works on an update for at most a slice. False when there is nothing to do now; then <paramref name="wait"/> says when there will be, if that is known.
    /// </summary>
    public bool Step(out TimeSpan? wait)
    {
        wait = null;
        DropCancelled();
        _current ??= Next();
        if (_current is not { } job) return false;
        if (CreditOf(job.Request.Tenant) is <= 0 and var credit && options.TrainingShare < 1)
        {
            wait = TimeSpan.FromSeconds(-credit / options.TrainingShare + 0.001);
            return false;
        }

        if (job.Run is null) Begin(job);
        if (!job.Run!.IsCompleted) return false; // its end wakes the engine
        long start = Stopwatch.GetTimestamp();
        try
        {
            TrainingRun run = job.Run.GetAwaiter().GetResult();
            bool hasEnded = run.Slice(options.TrainingSlice);
            job.Seconds += Charge(job.Request.Tenant, start);
            if (hasEnded) End(job, () => job.Completion.SetResult(new(run.Result, job.Seconds)));
        }
        catch (ArgumentException e)
        {
            End(job, () => job.Completion.SetException(new LongCtxException(ErrorCode.InvalidRequest, "the adapter cannot be trained: " + e.Message, "adapter", e)));
        }
        catch (Exception e)
        {
            End(job, () => job.Completion.SetException(new LongCtxException(ErrorCode.EngineFailure, "the training failed: " + e.Message, null, e)));
        }

        return true;
    }

    void Begin(TrainingJob job)
    {
        TrainingRequest request = job.Request;
        TrainingChunk chunk = request.Chunk;
        if (request.Pinned is { Sequence.IsDropped: false } pinned && (job.Cache = pinned.Sequence.Pins.Take(pinned.At)) is { } cache) chunk = pinned.Chunk with { Cache = cache };
        job.Run = Task.Run(() => request.Model.Runner.TrainBegin(request.State, chunk, request.Options));
        _ = job.Run.ContinueWith(_ => wake(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }

    public void FailAll(LongCtxException reason)
    {
        if (_current is { } job)
        {
            ((IAsyncResult?)job.Run)?.AsyncWaitHandle.WaitOne(); // it uses what is disposed next
            End(job, () => job.Completion.TrySetException(reason));
        }

        foreach (TrainingJob waiting in _waiting) waiting.Completion.TrySetException(reason);
        _waiting.Clear();
    }

    TrainingJob? Next()
    {
        if (_waiting.MinBy(j => _tenants.GetValueOrDefault(j.Request.Tenant).Used) is not { } next) return null;
        _waiting.Remove(next);
        return next;
    }

    void DropCancelled()
    {
        if (_current is { Cancellation.IsCancellationRequested: true, Run: null or { IsCompleted: true } } job) End(job, () => job.Completion.SetCanceled(job.Cancellation));
        for (int i = _waiting.Count - 1; i >= 0; i--)
        {
            if (!_waiting[i].Cancellation.IsCancellationRequested) continue;
            _waiting[i].Completion.SetCanceled(_waiting[i].Cancellation);
            _waiting.RemoveAt(i);
        }
    }

    void End(TrainingJob job, Action report)
    {
        _current = null;
        if (job.Run is { IsCompletedSuccessfully: true } run) run.Result.Dispose();
        job.Cache?.Dispose();
        report();
    }

    /// <summary>Seconds that the tenant may train now; negative when it has overdrawn.</summary>
    double CreditOf(string tenant)
    {
        long now = Stopwatch.GetTimestamp();
        (double used, double credit, long at) = _tenants.GetValueOrDefault(tenant, (0, BurstSeconds * options.TrainingShare, now));
        credit = Math.Min(BurstSeconds * options.TrainingShare, credit + options.TrainingShare * Stopwatch.GetElapsedTime(at, now).TotalSeconds);
        _tenants[tenant] = (used, credit, now);
        return credit;
    }

    double Charge(string tenant, long start)
    {
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        (double used, double credit, long at) = _tenants[tenant];
        _tenants[tenant] = (used + seconds, credit - seconds, at);
        return seconds;
    }
}
