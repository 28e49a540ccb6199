using System.Runtime.CompilerServices;
using System.Text;
using System.Text.RegularExpressions;

namespace LongCtx.Api.Tests;

/// <summary>
/// A host without a model: the reply is a script's, one word a token, but limits, stop texts, seeds, log-probabilities, cached tokens and the
/// window are worked out for real. Failures and waits happen on demand.
/// </summary>
internal sealed partial class ScriptedHost : ICompletionHost
{
    public const string Chat = "scripted";
    public const string Embedder = "scripted-embed";
    const int HeaderTokens = 3;

    readonly Lock sync = new();
    List<(ChatMessage Message, int Tokens)> cached = [];
    int running;

    public Func<CompletionRequest, string> Reply { get; set; } = request => $"You said: {request.Messages![^1].Content}";

    public int Capacity { get; set; } = 4096;

    public int Sinks { get; set; } = 4;

    public int Places { get; set; } = 8;

    public bool Ready { get; set; } = true;

    /// <summary>Awaited before each token, its index given; also before the first event with index -1.</summary>
    public Func<int, CancellationToken, Task> Before { get; set; } = (_, _) => Task.CompletedTask;

    public CompletionRequest? LastRequest { get; private set; }

    public string? LastTenant { get; private set; }

    public ValueTask<IReadOnlyList<ModelDescription>> ListModelsAsync(CancellationToken cancellation = default) => new(
    [
        new(Chat, "decoder", "script", 7_000_000, "F32", 512, $"{Sinks},64,1,{Capacity},16", 1_700_000_000),
        new(Embedder, "encoder", "script", 1_000_000, "F32", 256, "", 1_700_000_001),
        new("owner/name", "decoder", "script", 1_000_000_000, "F32", 512, "4,64,1,512,16", 1_700_000_002),
    ]);

    public ValueTask<HostStatus> GetStatusAsync(CancellationToken cancellation = default) => new(new HostStatus(Ready, running, 0, 3, 64));

    public ValueTask<EmbeddingResult> EmbedAsync(string tenant, EmbeddingRequest request, CancellationToken cancellation = default)
    {
        string model = request.Model ?? Embedder;
        if (model != Embedder) throw new LongCtxException(ErrorCode.ModelNotFound, $"No model '{model}' is loaded.", "model");
        float[][] vectors = [.. request.Inputs.Select(text =>
        {
            Random random = new(text.Aggregate(17, (hash, c) => unchecked(hash * 31 + c)));
            float[] vector = [.. Enumerable.Range(0, 8).Select(_ => random.NextSingle() - 0.5f)];
            float length = MathF.Sqrt(vector.Sum(x => x * x));
            return Array.ConvertAll(vector, x => x / length);
        })];
        return new(new EmbeddingResult(model, vectors, request.Inputs.Sum(Count), request.Inputs.Count(text => Count(text) > 256)));
    }

    public async IAsyncEnumerable<CompletionEvent> CompleteAsync(
        string tenant, CompletionRequest request, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        (LastRequest, LastTenant) = (request, tenant);
        string model = request.Model ?? Chat;
        if (model == Embedder) throw new LongCtxException(ErrorCode.InvalidRequest, $"'{model}' is an encoder; it cannot chat.", "model");
        if (model is not (Chat or "owner/name")) throw new LongCtxException(ErrorCode.ModelNotFound, $"No model '{model}' is loaded.", "model");
        if (Interlocked.Increment(ref running) > Places)
        {
            Interlocked.Decrement(ref running);
            throw new LongCtxException(ErrorCode.QueueFull, "All places are taken.") { RetryAfter = TimeSpan.FromSeconds(2.5) };
        }
        try
        {
            await foreach (CompletionEvent e in RunAsync(model, request, cancellation)) yield return e;
        }
        finally
        {
            Interlocked.Decrement(ref running);
        }
    }

    async IAsyncEnumerable<CompletionEvent> RunAsync(string model, CompletionRequest request, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await Before(-1, cancellation);
        (int prompt, int shared) = Prompt(request.Messages!);
        yield return new CompletionStarted(model, prompt, shared);

        StringBuilder text = new();
        int sent = 0;
        int count = 0;
        FinishReason reason = FinishReason.Stop;
        int evictedBefore = Evicted(prompt);
        List<TokenInfo> held = [];
        foreach (TokenInfo token in Tokens(Reply(request), request.TopLogprobs))
        {
            if (count == request.MaxTokens)
            {
                reason = FinishReason.Length;
                break;
            }
            await Before(count, cancellation);
            cancellation.ThrowIfCancellationRequested();
            count++;
            held.Add(token);
            byte[] pending = [.. held.SelectMany(t => t.Bytes)];
            if (!IsWhole(pending))
            {
                yield return new CompletionDelta("", [], Window(prompt + count));
                continue;
            }
            text.Append(Encoding.UTF8.GetString(pending));
            int stop = request.Stop.Select(s => text.ToString().IndexOf(s, StringComparison.Ordinal)).Where(i => i >= 0).DefaultIfEmpty(-1).Min();
            int end = stop >= 0 ? stop : text.Length - LongestOpenStop(text.ToString(), request.Stop);
            if (end > sent || request.Stop.Count == 0) yield return new CompletionDelta(text.ToString(sent, end - sent), [.. held], Window(prompt + count));
            (sent, held) = (end, []);
            if (stop >= 0) break;
        }
        Remember(request.Messages!, text.ToString(0, sent), prompt, count);
        Usage usage = new(prompt, shared, count, Evicted(prompt + count) - evictedBefore, Window(prompt + count), 0.01, count * 0.001);
        yield return new CompletionFinished(reason, usage);
    }

    static IEnumerable<TokenInfo> Tokens(string reply, int? top)
    {
        foreach (Match word in Word().Matches(reply))
        {
            byte[] bytes = Encoding.UTF8.GetBytes(word.Value);
            // A word with a character beyond ASCII takes two tokens, the first of which may end inside that character.
            int cut = bytes.Length > word.Length ? Array.FindIndex(bytes, b => b >= 0x80) + 1 : bytes.Length;
            yield return Token(bytes[..cut], top);
            if (cut < bytes.Length) yield return Token(bytes[cut..], top);
        }
    }

    static TokenInfo Token(byte[] bytes, int? top) => new(
        bytes[0], bytes, top is null ? null : -0.5f,
        [.. Enumerable.Range(0, top ?? 0).Select(i => new TokenAlternative(i, i == 0 ? bytes : [(byte)('a' + i)], i == 19 ? float.NegativeInfinity : -0.5f - i))]);

    (int Tokens, int Shared) Prompt(IReadOnlyList<ChatMessage> messages)
    {
        lock (sync)
        {
            int common = 0;
            while (common < messages.Count && common < cached.Count && messages[common] == cached[common].Message) common++;
            int shared = cached.Take(common).Sum(entry => entry.Tokens);
            return (shared + messages.Skip(common).Sum(m => HeaderTokens + Count(m.Content)), shared);
        }
    }

    void Remember(IReadOnlyList<ChatMessage> messages, string reply, int prompt, int count)
    {
        lock (sync)
        {
            cached = [.. messages.Select((m, i) => (m, i < cached.Count && cached[i].Message == m ? cached[i].Tokens : HeaderTokens + Count(m.Content)))];
            cached.Add((new ChatMessage("assistant", reply), count));
        }
    }

    int Evicted(int total) => Math.Max(0, (total - Capacity + 15) / 16 * 16);

    WindowState Window(int total) => new(total - Evicted(total), Capacity, Evicted(total), total) { Sinks = Math.Min(Sinks, total) };

    static int Count(string text) => Word().Count(text);

    static bool IsWhole(byte[] utf8)
    {
        Decoder decoder = Encoding.UTF8.GetDecoder();
        decoder.Convert(utf8, new char[utf8.Length + 1], flush: false, out _, out _, out _);
        return decoder.GetCharCount([], flush: true) == 0;
    }

    static int LongestOpenStop(string text, IReadOnlyList<string> stops) => stops
        .SelectMany(stop => Enumerable.Range(1, stop.Length - 1).Where(n => text.EndsWith(stop[..n], StringComparison.Ordinal)))
        .DefaultIfEmpty(0).Max();

    [GeneratedRegex(@"\s*\S+\s*?|\s+")]
    private static partial Regex Word();
}
