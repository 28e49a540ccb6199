using LongCtx.Api.Json;
using LongCtx.Api.Streaming;

namespace LongCtx.Api.Chat;

/// <summary>Sends a reply as server-sent events while it is generated.</summary>
internal sealed class ChatStream(ErrorBoundary errors, Heartbeat heartbeat, Shutdown shutdown, TimeProvider time)
{
    /// <summary>
    /// The status is decided by the first event or the first heartbeat, whichever comes first: a refusal before both is an ordinary error
    /// answer, a failure afterwards an error event that ends the stream without [DONE].
    /// </summary>
    public async Task WriteAsync(HttpContext http, ChatCall call, IAsyncEnumerable<CompletionEvent> events, CancellationToken cancellation)
    {
        SseWriter sse = new(http.Response);
        try
        {
            await WriteEventsAsync(sse, call, events, cancellation);
        }
        catch (Exception e) when (sse.HasStarted && !http.RequestAborted.IsCancellationRequested)
        {
            Exception reason = e is OperationCanceledException && shutdown.IsOver ? Shutdown.Refusal() : e;
            ErrorEnvelope error = new(errors.Explain(reason, http).Body);
            await sse.WriteAsync(error, ApiJson.Instance.ErrorEnvelope, http.RequestAborted, "error");
        }
    }

    async Task WriteEventsAsync(SseWriter sse, ChatCall call, IAsyncEnumerable<CompletionEvent> events, CancellationToken cancellation)
    {
        ReplyHead? head = null;
        await using IAsyncEnumerator<CompletionEvent> reader = events.GetAsyncEnumerator(cancellation);
        while (await heartbeat.WaitAsync(reader.MoveNextAsync(), sse, cancellation))
        {
            switch (reader.Current)
            {
                case CompletionStarted started:
                    head = ReplyHead.Create(time, started.Model, call.Request.Sampling.Seed);
                    await SendAsync(head.Piece(new() { Role = "assistant", Content = "" }) with { LongCtx = call.IncludeLongCtx ? Start(started, head) : null });
                    break;
                // Bytes of an unfinished character: there is something to say only if log-probabilities are wanted.
                case CompletionDelta { Text: "" } when call.Request.TopLogprobs is null:
                    break;
                case CompletionDelta delta:
                    LogprobList? logprobs = call.Request.TopLogprobs is null ? null : LogprobList.From(delta.Tokens);
                    LongCtxBody? state = call.IncludeLongCtx ? new() { Window = WindowBody.From(delta.Window) } : null;
                    await SendAsync(head!.Piece(new() { Content = delta.Text }, logprobs) with { LongCtx = state });
                    break;
                case CompletionFinished end:
                    UsageBody usage = UsageBody.From(end.Usage, head!.Seed);
                    await SendAsync(head.Piece(new(), finish: ReplyHead.Reason(end.Reason)) with { LongCtx = usage.LongCtx });
                    if (call.IncludeUsage) await SendAsync(head.Last(usage));
                    await sse.DoneAsync(cancellation);
                    return;
            }
        }
        throw new InvalidOperationException("The host ended a completion without CompletionFinished.");

        ValueTask SendAsync(ChatChunk chunk) => sse.WriteAsync(chunk, ApiJson.Instance.ChatChunk, cancellation);
    }

    static LongCtxBody Start(CompletionStarted started, ReplyHead head) =>
        new() { Seed = head.Seed, PromptTokens = started.PromptTokens, CachedTokens = started.CachedTokens };
}
