using LongCtx.Cli.Evaluation;
using LongCtx.Conversations.Local;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Models;
using LongCtx.Engine.Templates;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Cli;

/// <summary>An open decoder model, below the engine: for measurements that drive the runner themselves.</summary>
internal sealed class DecoderFiles : IDisposable
{
    /// <summary>Enough for a key's digits at once, or for many conversations that decode together.</summary>
    const int StepTokensMin = 256;

    readonly ModelSource _source;
    readonly Lazy<Tokenizer> _tokenizer;

    public DecoderFiles(ModelSource source)
    {
        _source = source;
        _tokenizer = new(() => ModelTokenizer.Load(source));
    }

    public DecoderConfig Config => _source.Decoder!;

    public Tokenizer Tokenizer => _tokenizer.Value;

    /// <param name="model">A bundled model's name or a path.</param>
    public static DecoderFiles Open(string model)
    {
        ModelSource source = ModelFiles.Open(model);
        if (source.Decoder is not null) return new(source);
        source.Dispose();
        throw new LongCtxException(ErrorCode.InvalidRequest,
            $"model '{model}' is an encoder ({source.Architecture}), which cannot predict text: use it with 'longctx embed', or give a decoder", "model");
    }

    /// <summary>Weights and room for the KV blocks of <paramref name="sequences"/> sequences of <paramref name="tokens"/> tokens each.</summary>
    public CpuModelRunner Load(int threads, AttentionPolicy policy, long tokens, int chunk, int sequences = 1) =>
        CpuModelRunner.Load(_source, threads, KvBytes(policy, tokens, chunk, sequences), Math.Max(chunk, StepTokensMin));

    /// <summary>Memory for the KV blocks of <paramref name="sequences"/> sequences of <paramref name="tokens"/> tokens each.</summary>
    public long KvBytes(AttentionPolicy policy, long tokens, int chunk, int sequences) => (long)KvDemand.Blocks(policy, tokens, chunk) * sequences * BlockBytesMax;

    /// <summary>Memory is allocated block by block as it is used, so an upper estimate costs nothing: f16 keys and values, padded, and a bias per key.</summary>
    long BlockBytesMax =>
        (long)Config.LayerCount * Config.KeyValueHeadCount * BlockPool.BlockSize * (2 * (Config.HeadDimension + 16) * sizeof(ushort) + sizeof(float));

    public bool HasChatTemplate => _source.ChatTemplate is not null;

    /// <summary>What the model's template puts before a user's first message, and between it and the reply.</summary>
    public (string Opening, string Closing) ChatFrame()
    {
        const string mark = "zqmessageqz";
        string text = Format().Render([new("user", mark)], true);
        int at = text.IndexOf(mark, StringComparison.Ordinal);
        return at >= 0 ? (text[..at], text[(at + mark.Length)..]) : throw Unsuitable("does not show the user's message");
    }

    /// <summary>Tokens in front of the first message of a chat: the sinks of a conversation are chosen to hold them.</summary>
    public int SystemTokens()
    {
        if (!HasChatTemplate) return Tokenizer.AddsBeginOfStream ? 1 : 0;
        ChatFormat format = Format();
        ChatMessage[] chat = [new("user", "Hi")];
        return format.TryRender(chat, true) is null ? 0 : new ChatPrompt(format, chat).SystemTokens;
    }

    ChatFormat Format()
    {
        ChatTemplate template = ChatTemplate.Parse(_source.ChatTemplate ?? throw Unsuitable("is missing"));
        string bos = Tokenizer.TextOf(Tokenizer.BeginOfStream), eos = Tokenizer.TextOf(Tokenizer.EndOfStream);
        return new(Render, Encode, bos, TemplateStability.Check(template, bos, eos).ContinuesPrompt);

        string Render(IReadOnlyList<ChatMessage> messages, bool opensReply)
        {
            try
            {
                return template.Render(messages, opensReply, bos, eos);
            }
            catch (ChatTemplateException refusal)
            {
                throw Unsuitable("refuses the message: " + refusal.Problem);
            }
        }
    }

    EncodedText Encode(string text)
    {
        int[] ids = Tokenizer.Encode(text, parseSpecial: true, addSpecial: false, out int[] starts);
        return new(ids, starts, text.Length);
    }

    LongCtxException Unsuitable(string problem) =>
        new(ErrorCode.InvalidRequest, $"the chat template of {_source.Path} {problem}: use --form raw", "form");

    public void Dispose() => _source.Dispose();
}
