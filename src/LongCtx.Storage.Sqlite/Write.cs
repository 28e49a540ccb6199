namespace LongCtx.Storage.Sqlite;

/// <summary>Something to be written, and who waits for it.</summary>
internal abstract class Write
{
    /// <summary>The waiter has given up; it has been told.</summary>
    public abstract bool IsCancelled();

    public abstract void Execute(Connection connection);

    /// <summary>Hands over the result; without effect after <see cref="Fail"/>.</summary>
    public abstract void Acknowledge();

    public abstract void Fail(Exception e);
}

internal sealed class Write<T>(Func<Connection, T> work, CancellationToken cancellation) : Write
{
    // Waiters must not run on the writer's thread.
    readonly TaskCompletionSource<T> done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    T result = default!;

    public Task<T> Task => done.Task;

    public override bool IsCancelled() => cancellation.IsCancellationRequested && done.TrySetCanceled(cancellation);

    public override void Execute(Connection connection) => result = work(connection);

    public override void Acknowledge() => done.TrySetResult(result);

    public override void Fail(Exception e) => done.TrySetException(e);
}
