using Microsoft.Extensions.Hosting;

namespace LongCtx.Api;

/// <summary>Lets running replies go on for a while after the server was asked to stop, then ends them with an error that says why.</summary>
internal sealed class Shutdown : IDisposable
{
    readonly CancellationTokenSource over;
    readonly CancellationTokenRegistration registration;

    public Shutdown(IHostApplicationLifetime lifetime, ApiOptions options, TimeProvider time)
    {
        over = new CancellationTokenSource(Timeout.InfiniteTimeSpan, time);
        registration = lifetime.ApplicationStopping.Register(() => over.CancelAfter(options.ShutdownGrace));
    }

    /// <summary>The grace is over.</summary>
    public bool IsOver => over.IsCancellationRequested;

    public CancellationTokenSource Link(CancellationToken request) => CancellationTokenSource.CreateLinkedTokenSource(request, over.Token);

    public static LongCtxException Refusal() =>
        new(ErrorCode.ShuttingDown, "The server is shutting down and ended this reply; send the request again when it is back.");

    public void Dispose()
    {
        registration.Dispose();
        over.Dispose();
    }
}
