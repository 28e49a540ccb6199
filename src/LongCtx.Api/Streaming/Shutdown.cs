using Microsoft.Extensions.Hosting;

namespace LongCtx.Api;

/// <summary>Lets running replies go on for a while after the server was asked to stop, then ends them with an error that says why.</summary>
internal sealed class Shutdown : IDisposable
{
    readonly CancellationTokenSource over;
    readonly CancellationTokenRegistration registration;

    public Shutdown(IHostApplicationLifetime lifetime, ApiOptions options, TimeProvider time)
    {
        Begun = lifetime.ApplicationStopping;
        over = new CancellationTokenSource(Timeout.InfiniteTimeSpan, time);
        registration = lifetime.ApplicationStopping.Register(() => over.CancelAfter(options.ShutdownGrace));
    }

    /// <summary>The server was asked to stop: what has no end of its own ends now.</summary>
    public CancellationToken Begun { get; }

    /// <summary>The grace is over.</summary>
    public bool IsOver => over.IsCancellationRequested;

    public CancellationTokenSource Link(CancellationToken request) => CancellationTokenSource.CreateLinkedTokenSource(request, over.Token);

    public static LongCtxException Refusal() =>
        new(ErrorCode.ShuttingDown, "The server is shutting down and ended this reply; send the request again when it is back.");

    /// <summary>For what is stored and goes on by itself when the server is back.</summary>
    public static LongCtxException Pause(string how) =>
        new(ErrorCode.ShuttingDown, $"The server is shutting down; nothing is lost. When it is back, {how}.");

    public void Dispose()
    {
        registration.Dispose();
        over.Dispose();
    }
}
