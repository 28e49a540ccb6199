using System.Globalization;
using LongCtx.Api.Json;
using LongCtx.Api.Streaming;

namespace LongCtx.Api.Responses;

/// <summary>Sends a response's stream as server-sent events whose id is the sequence number.</summary>
internal sealed class ResponseStream(ErrorBoundary errors, Heartbeat heartbeat, Shutdown shutdown, Telemetry telemetry)
{
    /// <summary>
    /// A failure before the first event or heartbeat is an ordinary error answer; afterwards an error event ends the stream. The client may
    /// leave at any time: a stored turn goes on.
    /// </summary>
    /// <param name="http">The request.</param>
    /// <param name="events">From the response's beginning.</param>
    /// <param name="startingAfter">Events up to this sequence number are left out.</param>
    /// <param name="stop">Ends <paramref name="events"/>.</param>
    /// <param name="atShutdown">What a client is told whose stream the server ends.</param>
    public async Task WriteAsync(HttpContext http, IAsyncEnumerable<ResponseEvent> events, int startingAfter, CancellationToken stop, LongCtxException atShutdown)
    {
        using IDisposable open = telemetry.OpenStream();
        SseWriter sse = new(http.Response);
        int last = startingAfter;
        try
        {
            await using IAsyncEnumerator<ResponseEvent> reader = events.GetAsyncEnumerator(stop);
            while (await heartbeat.WaitAsync(reader.MoveNextAsync(), sse, stop))
            {
                if (reader.Current.SequenceNumber <= last) continue;
                await WriteAsync(sse, reader.Current, stop);
                last = reader.Current.SequenceNumber;
            }
            if (!sse.HasStarted) await sse.OpenAsync(stop); // the client has everything
        }
        catch (Exception e) when (!http.RequestAborted.IsCancellationRequested)
        {
            Exception reason = e is OperationCanceledException && shutdown.IsOver ? atShutdown : e;
            if (!sse.HasStarted && reason == e) throw;
            if (!sse.HasStarted) throw reason;
            ErrorBody error = errors.Explain(reason, http).Body;
            ErrorEvent told = new("error", Math.Max(last, 0), error.Code, error.Message, error.Param);
            await sse.WriteAsync(told, ApiJson.Instance.ErrorEvent, http.RequestAborted, told.Type);
        }
    }

    static ValueTask WriteAsync(SseWriter sse, ResponseEvent e, CancellationToken cancellation)
    {
        string id = e.SequenceNumber.ToString(CultureInfo.InvariantCulture);
        return e switch
        {
            ResponseStateEvent state => sse.WriteAsync(state, ApiJson.Instance.ResponseStateEvent, cancellation, e.Type, id),
            OutputItemEvent item => sse.WriteAsync(item, ApiJson.Instance.OutputItemEvent, cancellation, e.Type, id),
            ContentPartEvent part => sse.WriteAsync(part, ApiJson.Instance.ContentPartEvent, cancellation, e.Type, id),
            TextDeltaEvent delta => sse.WriteAsync(delta, ApiJson.Instance.TextDeltaEvent, cancellation, e.Type, id),
            TextDoneEvent done => sse.WriteAsync(done, ApiJson.Instance.TextDoneEvent, cancellation, e.Type, id),
            _ => throw new ArgumentOutOfRangeException(nameof(e), e.GetType().Name, "an event without a shape"),
        };
    }
}
