using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using LongCtx.Api.Json;

namespace LongCtx.Api.Items;

/// <summary>
/// Acknowledges pieces of a body by lines of JSON while the body is still read. Many clients read nothing before they have sent everything: for
/// them only the newest acknowledgement is kept, which covers those before it, so that neither side waits for the other.
/// </summary>
internal sealed class AckWriter(HttpResponse response)
{
    Task writing = Task.CompletedTask;
    FeedAck? waiting;

    public bool HasStarted { get; private set; }

    public async ValueTask SendAsync(FeedAck ack, CancellationToken cancellation)
    {
        waiting = ack;
        if (!writing.IsCompleted) return;
        await writing;
        (waiting, writing) = (null, WriteAsync(ack, ApiJson.Instance.FeedAck, cancellation));
    }

    /// <summary>Sends what waits, and why it ends here if it does.</summary>
    public async Task FinishAsync(ErrorEnvelope? error, CancellationToken cancellation)
    {
        await writing;
        if (waiting is not null) await WriteAsync(waiting, ApiJson.Instance.FeedAck, cancellation);
        if (error is not null) await WriteAsync(error, ApiJson.Instance.ErrorEnvelope, cancellation);
    }

    async Task WriteAsync<T>(T line, JsonTypeInfo<T> type, CancellationToken cancellation)
    {
        if (!HasStarted)
        {
            HasStarted = true;
            response.ContentType = "application/x-ndjson";
            response.Headers.CacheControl = "no-store";
        }
        await response.Body.WriteAsync((byte[])[.. JsonSerializer.SerializeToUtf8Bytes(line, type), (byte)'\n'], cancellation);
        await response.Body.FlushAsync(cancellation);
    }
}
