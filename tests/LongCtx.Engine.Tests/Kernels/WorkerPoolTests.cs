using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Tests.Kernels;

public sealed class WorkerPoolTests
{
    readonly struct CountingJob(int[] counts, int[] workers) : IParallelJob
    {
        public void Execute(int part, int worker)
        {
            Interlocked.Increment(ref counts[part]);
            Interlocked.Increment(ref workers[worker]);
        }
    }

    readonly struct ThrowingJob(int[] counts, int bad) : IParallelJob
    {
        public void Execute(int part, int worker)
        {
            Interlocked.Increment(ref counts[part]);
            if (part == bad) throw new FormatException("part " + part);
        }
    }

    readonly struct NestingJob(WorkerPool pool) : IParallelJob
    {
        public void Execute(int part, int worker)
        {
            var inner = new CountingJob(new int[1], new int[pool.Threads]);
            pool.Run(ref inner, 1);
        }
    }

    /// <summary>Every part waits until all have begun: it ends only if the threads really run side by side.</summary>
    readonly struct MeetingJob(Barrier barrier) : IParallelJob
    {
        public void Execute(int part, int worker) => Assert.True(barrier.SignalAndWait(TimeSpan.FromSeconds(30)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void Run_ManyJobsOfManySizes_ExecutesEveryPartOnce(int threads)
    {
        using var pool = new WorkerPool(threads);
        var random = new Random(7);
        var counts = new int[64];
        var workers = new int[threads];
        for (int round = 0; round < 20000; round++)
        {
            int parts = random.Next(65);
            Array.Clear(counts);
            var job = new CountingJob(counts, workers);
            pool.Run(ref job, parts);
            for (int i = 0; i < counts.Length; i++) Assert.Equal(i < parts ? 1 : 0, counts[i]);
        }
    }

    [Fact]
    public void Run_AfterThePoolHasGoneToSleep_WakesEveryWorker()
    {
        using var pool = new WorkerPool(3);
        for (int round = 0; round < 5; round++)
        {
            Assert.True(SpinWait.SpinUntil(() => pool.ParkedWorkers == 2, TimeSpan.FromSeconds(30)));
            using var barrier = new Barrier(3);
            var job = new MeetingJob(barrier);
            pool.Run(ref job, 3);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Run_APartThrows_RethrowsOnceNothingRunsAnyMoreAndStaysUsable(int threads)
    {
        using var pool = new WorkerPool(threads);
        for (int bad = 0; bad < 20; bad++)
        {
            var counts = new int[20];
            var job = new ThrowingJob(counts, bad);
            FormatException e = Assert.Throws<FormatException>(() => pool.Run(ref job, counts.Length));
            Assert.Equal("part " + bad, e.Message);
            Assert.Equal(1, counts[bad]);
            if (threads > 1) Assert.All(counts, c => Assert.Equal(1, c)); // inline, the parts after it are not begun
        }
        var after = new int[5];
        var good = new CountingJob(after, new int[threads]);
        pool.Run(ref good, after.Length);
        Assert.All(after, c => Assert.Equal(1, c));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Run_InsideAJob_IsRefused(int threads)
    {
        using var pool = new WorkerPool(threads);
        var job = new NestingJob(pool);
        Assert.Throws<InvalidOperationException>(() => pool.Run(ref job, 2));
    }

    [Fact]
    public void Run_SecondCall_AllocatesNothing()
    {
        using var pool = new WorkerPool(2);
        var job = new CountingJob(new int[8], new int[2]);
        pool.Run(ref job, 8);
        long least = long.MaxValue; // of a few, because a collection that other tests cause is booked on this thread too
        for (int attempt = 0; attempt < 5 && least > 0; attempt++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 1000; i++) pool.Run(ref job, 8);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        Assert.Equal(0, least);
    }

    [Fact]
    public void Dispose_IdleAndParkedWorkers_EndsThemAndRefusesFurtherJobs()
    {
        var pool = new WorkerPool(3);
        Assert.True(SpinWait.SpinUntil(() => pool.ParkedWorkers == 2, TimeSpan.FromSeconds(30)));
        pool.Dispose();
        pool.Dispose();
        var job = new CountingJob(new int[1], new int[3]);
        Assert.Throws<ObjectDisposedException>(() => pool.Run(ref job, 1));
    }
}
