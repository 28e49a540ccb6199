using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Templates;

namespace LongCtx.Conversations.Local;

/// <summary>A decoder as the host serves it, by itself or with an adapter: what turns a request into tokens, a policy and a sequence.</summary>
internal sealed class LocalDecoder
{
    readonly PolicyOptions _policy;
    readonly ChatFormat? _format;

    /// <exception cref="LongCtxException">The policy cannot be honoured for this model.</exception>
    public LocalDecoder(DecoderModel model, PolicyOptions policy)
    {
        (Model, _policy, Name) = (model, policy, model.Name);
        if (model.Template is { } template)
            _format = new(
                (messages, opensReply) => Render(template, messages, opensReply), Encode, model.BosText, model.TemplateStability is { ContinuesPrompt: true });
        DefaultPolicy = policy.Resolve(model.TrainedLength, DefaultSystemTokens());
    }

    LocalDecoder(LocalDecoder parent, string name, LoraWeights adapter)
    {
        (Model, _policy, _format, DefaultPolicy) = (parent.Model, parent._policy, parent._format, parent.DefaultPolicy);
        (Name, Adapter) = (name, adapter);
    }

    /// <summary>The same decoder under another name, with an adapter.</summary>
    public LocalDecoder With(string name, LoraWeights adapter) => new(this, name, adapter);

    public DecoderModel Model { get; }

    /// <summary>What requests call it.</summary>
    public string Name { get; }

    /// <summary>null for the model by itself.</summary>
    public LoraWeights? Adapter { get; }

    /// <summary>Whose cached sequences can serve a request: keys that an adapter computed serve only the same adapter, whatever it is called.</summary>
    public PromptScope Scope(string tenant, AttentionPolicy policy) => new(tenant, Model.Name, Adapter?.Digest ?? "", policy);

    public Sequence CreateSequence(InferenceEngine engine, AttentionPolicy policy) => engine.CreateSequence(Model, policy, Adapter);

    public bool HasTemplate => _format is not null;

    /// <summary>What a conversation without a system message gets.</summary>
    public AttentionPolicy DefaultPolicy { get; }

    public AttentionPolicy PolicyFor(int systemTokens) => _policy.Resolve(Model.TrainedLength, systemTokens);

    /// <exception cref="LongCtxException">The model has no template, or its template refuses the messages.</exception>
    public ChatPrompt Chat(IReadOnlyList<ChatMessage> messages, bool opensReply = true) =>
        new(_format ?? throw new LongCtxException(ErrorCode.InvalidRequest,
            $"model {Model.Name} has no chat template (a base model): send a raw prompt, or use a model made for chat", "messages"), messages, opensReply);

    /// <summary>Ids of a raw text, begun as the model expects it.</summary>
    public int[] Raw(string prompt)
    {
        int[] ids = Model.Tokenizer.Encode(prompt);
        return Model.Tokenizer is { AddsBeginOfStream: true, BeginOfStream: { } bos } && (ids.Length == 0 || ids[0] != bos) ? [bos, .. ids] : ids;
    }

    public ModelDescription Describe() => new(
        Name, "decoder", Model.Source.Architecture, Model.Source.ParameterCount, Model.Source.Quantization, Model.TrainedLength,
        DefaultPolicy.ToString(), Model.Source.FileTime.ToUnixTimeSeconds())
    {
        Parent = Adapter is null ? null : Model.Name,
        Warning = Model.TemplateStability?.Problem is { } problem ? $"the chat template is not stable under appending, so turns are computed anew where it is not: {problem}" : null,
    };

    int DefaultSystemTokens()
    {
        if (_format is null) return Raw("").Length;
        try
        {
            return Chat([new("user", "Hi")]).SystemTokens;
        }
        catch (LongCtxException e) when (e.Code == ErrorCode.InvalidRequest)
        {
            return 0; // a template that wants more than one message: requests will tell
        }
    }

    EncodedText Encode(string text)
    {
        int[] ids = Model.Tokenizer.Encode(text, parseSpecial: true, addSpecial: false, out int[] starts);
        return new(ids, starts, text.Length);
    }

    string Render(ChatTemplate template, IReadOnlyList<ChatMessage> messages, bool opensReply)
    {
        try
        {
            return template.Render(messages, opensReply, Model.BosText, Model.EosText);
        }
        catch (ChatTemplateException e)
        {
            throw new LongCtxException(ErrorCode.InvalidRequest, $"the chat template of {Model.Name} refuses these messages: {e.Message}", "messages", e);
        }
    }
}
