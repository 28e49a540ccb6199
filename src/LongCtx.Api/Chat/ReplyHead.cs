namespace LongCtx.Api.Chat;

/// <summary>What every piece of one reply repeats: id, time, model.</summary>
internal sealed record ReplyHead(string Id, long Created, string Model, ulong Seed)
{
    static readonly string Fingerprint = "longctx-" + typeof(ReplyHead).Assembly.GetName().Version!.ToString(3);

    public static ReplyHead Create(TimeProvider time, string model, ulong seed)
    {
        DateTimeOffset now = time.GetUtcNow();
        return new($"chatcmpl-{Guid.CreateVersion7(now):N}", now.ToUnixTimeSeconds(), model, seed);
    }

    public ChatCompletion Whole(string text, LogprobList? logprobs, CompletionFinished end) => new(
        Id, "chat.completion", Created, Model, Fingerprint,
        [new(0, new("assistant", text), logprobs, Reason(end.Reason))], UsageBody.From(end.Usage, Seed));

    public ChatChunk Piece(ChunkDelta delta, LogprobList? logprobs = null, string? finish = null) =>
        new(Id, "chat.completion.chunk", Created, Model, Fingerprint, [new(0, delta, logprobs, finish)]);

    public ChatChunk Last(UsageBody usage) => new(Id, "chat.completion.chunk", Created, Model, Fingerprint, []) { Usage = usage };

    public static string Reason(FinishReason reason) => reason switch
    {
        FinishReason.Stop => "stop",
        FinishReason.Length => "length",
        // The client is still there, so it was not the client who cancelled.
        _ => throw new LongCtxException(ErrorCode.ShuttingDown, "The server stopped this reply before its end; send the request again."),
    };
}
