namespace LongCtx.Storage.Sqlite.Tests;

/// <summary>Time that passes when a test says so.</summary>
sealed class ManualClock : TimeProvider
{
    readonly List<ManualTimer> timers = [];
    DateTimeOffset now = DateTimeOffset.UnixEpoch.AddDays(20_000);

    public override DateTimeOffset GetUtcNow() => now;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new ManualTimer(this, () => callback(state));
        timer.Change(dueTime, period);
        timers.Add(timer);
        return timer;
    }

    /// <summary>Runs what is due, on this thread.</summary>
    public void Advance(TimeSpan time)
    {
        now += time;
        foreach (var timer in timers) timer.RunIfDue();
    }

    sealed class ManualTimer(ManualClock clock, Action run) : ITimer
    {
        DateTimeOffset? due;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            due = dueTime == Timeout.InfiniteTimeSpan ? null : clock.now + dueTime;
            return true;
        }

        public void RunIfDue()
        {
            if (!(due <= clock.now)) return;
            due = null;
            run();
        }

        public void Dispose() => due = null;

        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }
    }
}
