using System.Runtime.CompilerServices;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Conversations.Local;

/// <summary>
/// The models of one process, and what they compute without remembering. A stateless request continues the sequence that still holds its earlier
/// messages. The engine belongs to the host and ends with it.
/// </summary>
public sealed partial class ModelHost : ICompletionHost, IAsyncDisposable
{
    volatile IReadOnlyList<LocalDecoder> _decoders; // replaced as a whole when an adapter comes or goes
    readonly IReadOnlyList<EncoderModel> _encoders;
    readonly PromptCache<Sequence> _cache;

    /// <param name="engine">Has loaded the models.</param>
    /// <param name="decoders">The first is the default.</param>
    /// <param name="encoders">The first is the default.</param>
    /// <param name="options">Settings for all models.</param>
    /// <exception cref="LongCtxException">A setting cannot be honoured, or two models have the same name.</exception>
    public ModelHost(InferenceEngine engine, IReadOnlyList<DecoderModel> decoders, IReadOnlyList<EncoderModel> encoders, LocalHostOptions options)
    {
        options.Validate();
        Engine = engine;
        ReplyTokensMax = options.ReplyTokensMax;
        _decoders = [.. decoders.Select(m => new LocalDecoder(m, options.Policy))];
        _encoders = [.. encoders];
        _cache = new(options.CachedSequencesMax, s => s.IsHeld, s => s.Drop());
        if (decoders.Select(m => m.Name).Concat(encoders.Select(m => m.Name)).GroupBy(n => n, StringComparer.Ordinal).FirstOrDefault(g => g.Count() > 1) is { } twice)
            throw new LongCtxException(ErrorCode.InvalidRequest, $"two models are called {twice.Key}: give one of them another name", "model");
    }

    public InferenceEngine Engine { get; }

    /// <summary>Where a reply ends that was asked for without a limit.</summary>
    public int ReplyTokensMax { get; }

    public async IAsyncEnumerable<CompletionEvent> CompleteAsync(
        string tenant, CompletionRequest request, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        var decoder = FindDecoder(request.Model);
        Validate(request);
        request = request with { MaxTokens = request.MaxTokens ?? ReplyTokensMax };
        var lease = await StartAsync(tenant, decoder, request, cancellation).ConfigureAwait(false);
        await using var completion = LocalCompletion.Submit(decoder.Model, lease, request, Engine);

        var started = new CompletionStarted(decoder.Name, lease.PromptTokens, lease.Cached);
        bool hasStarted = false;
        await foreach (var token in completion.Tokens(cancellation).ConfigureAwait(false))
        {
            if (!hasStarted)
            {
                completion.PromptFed();
                yield return started;
                hasStarted = true;
            }
            if (token.Text.Length > 0 || token.Info is not null)
                yield return new CompletionDelta(token.Text, token.Info is { } info ? [info] : [], token.Window);
        }

        var result = await completion.EndAsync().ConfigureAwait(false); // in the cache before the client can send its next turn
        if (!hasStarted) yield return started;
        yield return new CompletionFinished(result.Reason, new(
            lease.PromptTokens, lease.Cached, result.CompletionTokens, result.EvictedTokens, result.Window, result.PrefillSeconds, result.DecodeSeconds));
    }

    ValueTask<PromptLease<Sequence>> StartAsync(string tenant, LocalDecoder decoder, CompletionRequest request, CancellationToken cancellation)
    {
        var starter = new PromptStarter<Sequence>(_cache, ReuseAsync);
        if (request.Messages is { } messages)
        {
            var prompt = decoder.Chat(messages);
            var policy = decoder.PolicyFor(prompt.SystemTokens);
            return starter.StartAsync(decoder.Scope(tenant, policy), new(messages), () => decoder.CreateSequence(Engine, policy),
                mark => mark.Beyond is { } beyond ? prompt.AfterReply(mark.Messages, beyond) : prompt.From(mark.Messages), cancellation);
        }

        int[] ids = decoder.Raw(request.Prompt!);
        if (ids.Length == 0) throw Refuse("prompt is empty: give at least one character", "prompt");
        var rawPolicy = decoder.PolicyFor(0);
        return starter.StartAsync(decoder.Scope(tenant, rawPolicy), MessageChain.None, () => decoder.CreateSequence(Engine, rawPolicy),
            _ => PromptTail.Raw(ids), cancellation);
    }

    /// <summary>Not cancellable: a sequence that came too late would stay pinned.</summary>
    async ValueTask<Sequence?> ReuseAsync(Sequence source, int length, ReadOnlyMemory<int> newest) =>
        await Engine.ReuseAsync(source, length, newest).ConfigureAwait(false);

    static void Validate(CompletionRequest request)
    {
        if (request.Messages is null == request.Prompt is null) throw Refuse("give either messages or a prompt", "messages");
        if (request.Messages is { Count: 0 }) throw Refuse("messages is empty: give at least one", "messages");
        if (request.MaxTokens < 1) throw Refuse($"max_tokens = {request.MaxTokens} must be at least 1", "max_tokens");
        if (request.Stop.Contains("")) throw Refuse("a stop text must not be empty", "stop");
    }

    /// <summary>Null is the default.</summary>
    /// <exception cref="LongCtxException"><see cref="ErrorCode.ModelNotFound"/>, or it is an encoder.</exception>
    internal LocalDecoder FindDecoder(string? name)
    {
        if (_decoders.FirstOrDefault(d => name is null || d.Name == name) is { } decoder) return decoder;
        if (_encoders.Any(e => e.Name == name)) throw Refuse($"model {name} is an encoder: it embeds text and cannot generate any", "model");
        throw NotFound(name, _decoders.Select(d => d.Name), "for generating text");
    }

    static LongCtxException NotFound(string? name, IEnumerable<string> known, string purpose)
    {
        string list = string.Join(", ", known);
        string what = name is null ? "no model is loaded" : $"model {name} is not loaded";
        return new(ErrorCode.ModelNotFound, list.Length == 0 ? $"{what}; there is none {purpose}" : $"{what}; {purpose} there are: {list}", "model");
    }

    static LongCtxException Refuse(string problem, string parameter) => new(ErrorCode.InvalidRequest, problem, parameter);

    public ValueTask DisposeAsync() => Engine.DisposeAsync();
}
