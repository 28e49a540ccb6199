using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Templates;

namespace LongCtx.Conversations.Local;

/// <summary>A decoder as the host serves it: what turns a request into tokens and a policy.</summary>
internal sealed class LocalDecoder
{
    readonly PolicyOptions _policy;
    readonly ChatFormat? _format;

    /// <exception cref="LongCtxException">The policy cannot be honoured for this model.</exception>
    public LocalDecoder(DecoderModel model, PolicyOptions policy)
    {
        (Model, _policy) = (model, policy);
        if (model.Template is { } template)
            _format = new(
                (messages, opensReply) => Render(template, messages, opensReply), Encode, model.BosText, model.TemplateStability is { ContinuesPrompt: true });
        DefaultPolicy = policy.Resolve(model.TrainedLength, DefaultSystemTokens());
    }

    public DecoderModel Model { get; }

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
        Model.Name, "decoder", Model.Source.Architecture, Model.Source.ParameterCount, Model.Source.Quantization, Model.TrainedLength,
        DefaultPolicy.ToString(), Model.Source.FileTime.ToUnixTimeSeconds())
    {
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
