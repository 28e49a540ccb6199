using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace LongCtx.Engine.Kernels;

/// <summary>
/// Fixed threads that run the parts of one job at a time. A step has some 200 jobs of a few microseconds, so handing one over costs
/// two cache line transfers: idle workers spin on the line that holds the job, and park only when nothing came for a while.
/// </summary>
internal sealed unsafe class WorkerPool : IDisposable
{
    /// <summary>
    /// Invariants: Unclaimed > 0 only while Body, Job and Parts describe a running job, and <see cref="Run"/> does not return before every
    /// claimed part has been executed. So whoever has claimed a part may read the description, whenever it began to look.
    /// </summary>
    [StructLayout(LayoutKind.Explicit, Size = 4 * 64)]
    struct Board
    {
        [FieldOffset(0)] public delegate*<void*, int, int, void> Body;
        [FieldOffset(8)] public void* Job;
        [FieldOffset(16)] public int Parts;
        [FieldOffset(20)] public int Unclaimed;

        [FieldOffset(64)] public int FinishedByWorkers;

        [FieldOffset(128)] public int Parked;
        [FieldOffset(132)] public int Stopping;
        [FieldOffset(136)] public int Busy;
    }

    // Longer than the pauses between the jobs of a step and between two tokens; short against anything a user would call idle.
    static readonly long s_spinTicks = Stopwatch.Frequency / 5000;
    const int PollsPerClockRead = 32;
    const int PollsBeforeYield = 4096;

    readonly NativeBuffer _memory = new((nuint)sizeof(Board));
    readonly Board* _board;
    readonly Thread[] _threads;
    readonly object _gate = new();
    ExceptionDispatchInfo? _failure;

    /// <param name="threads">All threads that work, the caller of <see cref="Run"/> among them; 1 runs everything inline.</param>
    public WorkerPool(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        _board = (Board*)_memory.Pointer;
        _threads = new Thread[threads - 1];
        for (int i = 0; i < _threads.Length; i++)
        {
            int worker = i + 1;
            _threads[i] = new Thread(() => Work(worker)) { IsBackground = true, Name = "LongCtx worker " + worker };
            _threads[i].Start();
        }
    }

    public int Threads => _threads.Length + 1;

    /// <summary>Workers that have given up spinning and cost nothing.</summary>
    internal int ParkedWorkers => Volatile.Read(ref _board->Parked);

    /// <summary>Executes all parts and returns when they are done. One caller at a time; jobs do not nest. The first exception is rethrown.</summary>
    public void Run<TJob>(ref TJob job, int parts) where TJob : struct, IParallelJob
    {
        ObjectDisposedException.ThrowIf(_memory.IsClosed, this);
        if (Interlocked.Exchange(ref _board->Busy, 1) != 0)
            throw new InvalidOperationException("The worker pool is already running a job: one caller at a time, and jobs do not nest.");
        try
        {
            if (_threads.Length == 0 || parts <= 1)
                for (int part = 0; part < parts; part++) job.Execute(part, 0);
            else
                fixed (byte* pinned = &Unsafe.As<TJob, byte>(ref job)) Share(&Invoke<TJob>, pinned, parts);
        }
        finally
        {
            Volatile.Write(ref _board->Busy, 0);
        }
    }

    static void Invoke<TJob>(void* job, int part, int worker) where TJob : struct, IParallelJob =>
        Unsafe.AsRef<TJob>(job).Execute(part, worker);

    void Share(delegate*<void*, int, int, void> body, void* job, int parts)
    {
        Board* board = _board;
        board->Body = body;
        board->Job = job;
        board->Parts = parts;
        board->FinishedByWorkers = 0;
        Interlocked.Exchange(ref board->Unclaimed, parts); // a full fence: either we see a parked worker or it sees the parts
        if (Volatile.Read(ref board->Parked) > 0) Wake();

        int left = parts - ExecuteClaimed(0);
        for (int polls = 0; Volatile.Read(ref board->FinishedByWorkers) != left; polls++)
        {
            if (polls < PollsBeforeYield) Thread.SpinWait(1);
            else Thread.Yield(); // more threads than cores: let the worker have this one
        }
        if (_failure is { } failure)
        {
            _failure = null;
            failure.Throw();
        }
    }

    void Work(int worker)
    {
        Board* board = _board;
        while (Volatile.Read(ref board->Stopping) == 0)
        {
            if (!SpinForParts()) Park();
            int done = ExecuteClaimed(worker);
            if (done > 0) Interlocked.Add(ref board->FinishedByWorkers, done);
        }
    }

    int ExecuteClaimed(int worker)
    {
        Board* board = _board;
        int done = 0;
        for (int unclaimed; (unclaimed = Volatile.Read(ref board->Unclaimed)) > 0;)
        {
            if (Interlocked.CompareExchange(ref board->Unclaimed, unclaimed - 1, unclaimed) != unclaimed) continue;
            try
            {
                board->Body(board->Job, board->Parts - unclaimed, worker);
            }
            catch (Exception e)
            {
                Interlocked.CompareExchange(ref _failure, ExceptionDispatchInfo.Capture(e), null);
            }
            done++;
        }
        return done;
    }

    bool SpinForParts()
    {
        long started = Stopwatch.GetTimestamp();
        do
        {
            for (int i = 0; i < PollsPerClockRead; i++)
            {
                if (Volatile.Read(ref _board->Unclaimed) > 0) return true;
                Thread.SpinWait(1);
            }
        }
        while (Stopwatch.GetTimestamp() - started < s_spinTicks);
        return false;
    }

    /// <summary>Sleeps until woken once; the worker spins again afterwards, because one job is seldom alone.</summary>
    void Park()
    {
        lock (_gate)
        {
            Interlocked.Increment(ref _board->Parked);
            if (Volatile.Read(ref _board->Unclaimed) == 0 && Volatile.Read(ref _board->Stopping) == 0) Monitor.Wait(_gate);
            Interlocked.Decrement(ref _board->Parked);
        }
    }

    void Wake()
    {
        lock (_gate) Monitor.PulseAll(_gate);
    }

    public void Dispose()
    {
        if (_memory.IsClosed) return;
        Interlocked.Exchange(ref _board->Stopping, 1);
        Wake();
        foreach (Thread thread in _threads) thread.Join();
        _memory.Dispose();
    }
}
