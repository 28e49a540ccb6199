using LongCtx.Engine.Adapters;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Runtime;
using LongCtx.Engine.Templates;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Scheduling;

/// <summary>A decoder that an engine has loaded: what callers need to know to talk to it.</summary>
public sealed class DecoderModel
{
    internal DecoderModel(string name, ModelSource source, IModelRunner runner)
    {
        Name = name;
        Source = source;
        Runner = runner;
        Fingerprint = ModelFingerprint.Of(source);
        Tokenizer = ModelTokenizer.Load(source);
        BosText = Tokenizer.TextOf(Tokenizer.BeginOfStream);
        EosText = Tokenizer.TextOf(Tokenizer.EndOfStream);
        StopTokens = ModelTokenizer.StopTokens(source, Tokenizer);
        if (source.ChatTemplate is { } template)
        {
            Template = ChatTemplate.Parse(template);
            TemplateStability = TemplateStability.Check(Template, BosText, EosText);
        }
    }

    public string Name { get; }

    public ModelSource Source { get; }

    /// <summary>Tells it from other models: saved sequences of one mean nothing to another.</summary>
    public string Fingerprint { get; }

    public DecoderConfig Config => Source.Decoder!;

    public int TrainedLength => Config.TrainedLength;

    public Tokenizer Tokenizer { get; }

    /// <summary>The model's own chat template; null for a base model.</summary>
    public ChatTemplate? Template { get; }

    /// <summary>Whether rendering is stable under appending, so that a new turn only adds to what is cached.</summary>
    public TemplateStability? TemplateStability { get; }

    public string BosText { get; }

    public string EosText { get; }

    /// <summary>Tokens that end a reply.</summary>
    public IReadOnlySet<int> StopTokens { get; }

    internal IModelRunner Runner { get; }

    /// <summary>
    /// Reads an adapter for this model from a PEFT directory and prepares it, on another thread; nothing that runs waits for it. Sequences are given it,
    /// and its memory goes when the last holder forgets it.
    /// </summary>
    /// <exception cref="LongCtxException">It cannot be used for this model; the message says why.</exception>
    public Task<LoraWeights> ReadAdapterAsync(string directory, CancellationToken cancellation = default) => Task.Run(() =>
    {
        try
        {
            LoraWeights adapter = PeftDirectory.Read(directory, Config);
            _ = (adapter.Packed, adapter.Digest);
            return adapter;
        }
        catch (ModelFileException e)
        {
            throw new LongCtxException(ErrorCode.InvalidRequest, "the adapter cannot be used: " + e.Message, "adapter", e);
        }
    }, cancellation);
}
