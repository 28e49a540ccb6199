using System.Runtime.CompilerServices;

namespace LongCtx.Api.Responses;

/// <summary>A response of which nothing is kept ('store': false): a completion in the shape of a turn's journal.</summary>
internal sealed class StatelessResponse(ICompletionHost host, Telemetry telemetry, TimeProvider time)
{
    public async IAsyncEnumerable<ResponseEvent> StreamAsync(string tenant, ResponseCall call, [EnumeratorCancellation] CancellationToken cancellation)
    {
        ResponseBuilder? builder = null;
        await foreach ((string model, ConversationEvent e) in EventsAsync(tenant, call, cancellation))
        {
            builder ??= new(new($"resp_{Guid.CreateVersion7(time.GetUtcNow()):N}", model, null));
            foreach (ResponseEvent expanded in builder.Expand(e)) yield return expanded;
        }
    }

    async IAsyncEnumerable<(string Model, ConversationEvent Event)> EventsAsync(
        string tenant, ResponseCall call, [EnumeratorCancellation] CancellationToken cancellation)
    {
        CompletionRequest request = new()
        {
            Model = call.Model,
            Messages = call.Instructions is { } instructions ? [new("system", instructions), .. call.Input] : call.Input,
            MaxTokens = call.Options.MaxTokens,
            Stop = call.Options.Stop,
            Sampling = call.Options.Sampling,
        };
        string model = "";
        await foreach (CompletionEvent e in telemetry.Counted(host.CompleteAsync(tenant, request, cancellation)))
        {
            switch (e)
            {
                case CompletionStarted started:
                    model = started.Model;
                    TurnOptions options = call.Options with { Response = new(call.Instructions, null, false, false) };
                    yield return (model, new TurnAccepted("", "", request.Messages, options) { Turn = 1, At = time.GetUtcNow().ToUnixTimeMilliseconds() });
                    break;
                case CompletionDelta { Text.Length: > 0 } delta:
                    yield return (model, new Delta(delta.Text));
                    break;
                case CompletionFinished end:
                    yield return (model, End(end));
                    break;
            }
        }
    }

    static ConversationEvent End(CompletionFinished end)
    {
        TurnUsage usage = new(end.Usage.PromptTokens, end.Usage.CachedTokens, end.Usage.CompletionTokens, end.Usage.EvictedTokens)
        {
            PrefillSeconds = end.Usage.PrefillSeconds,
            DecodeSeconds = end.Usage.DecodeSeconds,
            Window = end.Usage.Window,
        };
        // The client is still there, so it was the server that cancelled.
        return end.Reason == FinishReason.Cancelled ? throw Shutdown.Refusal() : new Completed(end.Reason, usage);
    }
}
