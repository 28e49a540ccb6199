using System.Text;
using System.Text.Json;
using LongCtx.Api.Json;

namespace LongCtx.Api.Chat;

/// <summary>POST /v1/chat/completions</summary>
internal sealed class ChatEndpoint(
    ICompletionHost host, RequestBody body, ChatRequestReader reader, ChatStream stream, Telemetry telemetry, Shutdown shutdown, TimeProvider time)
{
    public async Task HandleAsync(HttpContext http)
    {
        ChatCall call;
        using (JsonDocument document = await body.ReadObjectAsync(http)) call = reader.Read(document.RootElement);

        using CancellationTokenSource stop = shutdown.Link(http.RequestAborted);
        IAsyncEnumerable<CompletionEvent> events = telemetry.Counted(host.CompleteAsync(Tenants.Of(http), call.Request, stop.Token));
        try
        {
            if (call.Stream) await stream.WriteAsync(http, call, events, stop.Token);
            else await WriteWholeAsync(http, call, events, stop.Token);
        }
        catch (OperationCanceledException) when (shutdown.IsOver && !http.RequestAborted.IsCancellationRequested)
        {
            throw Shutdown.Refusal();
        }
    }

    async Task WriteWholeAsync(HttpContext http, ChatCall call, IAsyncEnumerable<CompletionEvent> events, CancellationToken cancellation)
    {
        StringBuilder text = new();
        List<TokenInfo>? tokens = call.Request.TopLogprobs is null ? null : [];
        ReplyHead? head = null;
        await foreach (CompletionEvent e in events.WithCancellation(cancellation))
        {
            switch (e)
            {
                case CompletionStarted started:
                    head = ReplyHead.Create(time, started.Model, call.Request.Sampling.Seed);
                    break;
                case CompletionDelta delta:
                    text.Append(delta.Text);
                    tokens?.AddRange(delta.Tokens);
                    break;
                case CompletionFinished end:
                    LogprobList? logprobs = tokens is null ? null : LogprobList.From(tokens);
                    ChatCompletion reply = head!.Whole(text.ToString(), logprobs, end);
                    await http.Response.WriteAsJsonAsync(reply, ApiJson.Instance.ChatCompletion, cancellationToken: cancellation);
                    return;
            }
        }
        throw new InvalidOperationException("The host ended a completion without CompletionFinished.");
    }
}
