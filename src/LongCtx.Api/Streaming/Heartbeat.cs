namespace LongCtx.Api.Streaming;

/// <summary>Keeps silent streams open: proxies close what says nothing for long.</summary>
internal sealed class Heartbeat(ApiOptions options, TimeProvider time)
{
    /// <summary>Waits for the next event of a stream; comments are sent meanwhile.</summary>
    /// <param name="pending">The step that is under way. Whoever cancels <paramref name="cancellation"/> cancels it too.</param>
    /// <param name="sse">The stream.</param>
    /// <param name="cancellation">Ends the comments.</param>
    public async ValueTask<bool> WaitAsync(ValueTask<bool> pending, SseWriter sse, CancellationToken cancellation)
    {
        if (pending.IsCompleted) return await pending;
        Task<bool> next = pending.AsTask();
        while (true)
        {
            try
            {
                return await next.WaitAsync(options.Heartbeat, time, CancellationToken.None);
            }
            catch (TimeoutException) when (!next.IsCompleted)
            {
                try
                {
                    await sse.CommentAsync("waiting", cancellation);
                }
                catch (OperationCanceledException)
                {
                    // An enumerator must not be left while it moves.
                    return await next;
                }
            }
        }
    }
}
