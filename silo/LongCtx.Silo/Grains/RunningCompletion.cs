namespace LongCtx.Silo.Grains;

/// <summary>A completion that is read in pages: a reader that repeats a call gets the same events again, one that stays away ends it.</summary>
internal sealed class RunningCompletion : IAsyncDisposable
{
    /// <summary>Events that may wait for their reader before the engine's reader pauses.</summary>
    const int UnreadMax = 1024;

    readonly CancellationTokenSource _stop = new();
    readonly Lock _gate = new();
    readonly Queue<CompletionEvent> _events = new();
    readonly Task _run;
    TaskCompletionSource _changed = New();
    LongCtxException? _failure;
    int _first; // number of the oldest event kept
    bool _isOver;

    public RunningCompletion(IAsyncEnumerable<CompletionEvent> events) => _run = Task.Run(() => RunAsync(events));

    /// <summary>When it was last asked for, by <see cref="Environment.TickCount64"/>.</summary>
    public long LastRead { get; private set; } = Environment.TickCount64;

    /// <exception cref="LongCtxException">The completion was refused, or failed.</exception>
    public async Task<CompletionPage> ReadAsync(int from, TimeSpan wait, CancellationToken cancellation)
    {
        LastRead = Environment.TickCount64;
        Task changed;
        lock (_gate)
        {
            for (; _first < from && _events.Count > 0; _first++) _events.Dequeue();
            Wake(); // there is room
            if (_events.Count > 0 || _isOver) return Page();
            changed = _changed.Task;
        }

        await changed.WaitAsync(wait, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        cancellation.ThrowIfCancellationRequested();
        lock (_gate) return Page();
    }

    CompletionPage Page() => _events.Count == 0 && _failure is not null ? throw _failure : new([.. _events], _isOver && _failure is null);

    async Task RunAsync(IAsyncEnumerable<CompletionEvent> events)
    {
        LongCtxException? failure = null;
        try
        {
            await foreach (CompletionEvent e in events.WithCancellation(_stop.Token).ConfigureAwait(false))
            {
                Task? full;
                lock (_gate)
                {
                    _events.Enqueue(e);
                    Wake();
                    full = _events.Count >= UnreadMax ? _changed.Task : null;
                }

                while (full is not null)
                {
                    await full.WaitAsync(_stop.Token).ConfigureAwait(false);
                    lock (_gate) full = _events.Count >= UnreadMax ? _changed.Task : null;
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Nobody reads any more.
        }
        catch (Exception e)
        {
            failure = e as LongCtxException ?? new(ErrorCode.EngineFailure, $"the reply failed: {e.Message}", inner: e);
        }

        lock (_gate)
        {
            (_failure, _isOver) = (failure, true);
            Wake();
        }
    }

    void Wake()
    {
        _changed.TrySetResult();
        _changed = New();
    }

    static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _run.ConfigureAwait(false);
        _stop.Dispose();
    }
}
