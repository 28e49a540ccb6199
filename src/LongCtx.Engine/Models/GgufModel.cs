using LongCtx.Engine.Files;

namespace LongCtx.Engine.Models;

internal static class GgufModel
{
    const string BosKey = "tokenizer.ggml.bos_token_id";
    const string EosKey = "tokenizer.ggml.eos_token_id";
    const int ControlToken = 3;

    public static ModelSource Open(string path)
    {
        GgufFile file = GgufFile.Open(path);
        try
        {
            string architecture = GgufConfig.Architecture(file);
            bool isEncoder = architecture == "bert";
            DecoderConfig? decoder = isEncoder ? null : GgufConfig.ReadDecoder(file, architecture);
            EncoderConfig? encoder = isEncoder ? GgufConfig.ReadEncoder(file, architecture) : null;
            GgufMetadata metadata = file.Metadata;
            int vocabulary = decoder?.VocabularySize ?? encoder!.VocabularySize;
            string? template = metadata.String("tokenizer.chat_template");
            int? bos = TokenId(metadata, BosKey, vocabulary), eos = TokenId(metadata, EosKey, vocabulary);
            return new ModelSource(path, ModelFormat.Gguf, file, decoder, encoder)
            {
                ChatTemplate = template,
                Special = new(bos, eos, Text(metadata, bos), Text(metadata, eos), metadata.Bool("tokenizer.ggml.add_bos_token")),
                StopIds = StopIds(metadata, vocabulary, eos, template),
            };
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Null where absent; some files write -1 for 'none'.</summary>
    static int? TokenId(GgufMetadata metadata, string key, int vocabulary)
    {
        if (metadata.Integer(key) is not { } id || id is -1 or uint.MaxValue) return null;
        return id >= 0 && id < vocabulary ? (int)id : throw metadata.Fail(key, $"'{key}' is {id} but the vocabulary has {vocabulary} tokens");
    }

    static string? Text(GgufMetadata metadata, int? id) =>
        id is { } i && metadata.Strings("tokenizer.ggml.tokens") is { } tokens && i < tokens.Length ? tokens[i] : null;

    /// <summary>
    /// EOS, end of turn, end of message. Older conversions state only EOS although a turn ends with another control token; such a one
    /// counts if the chat template writes it.
    /// </summary>
    static List<int> StopIds(GgufMetadata metadata, int vocabulary, int? eos, string? template)
    {
        List<int> ids = [];
        foreach (int? id in (ReadOnlySpan<int?>)[
            eos, TokenId(metadata, "tokenizer.ggml.eot_token_id", vocabulary), TokenId(metadata, "tokenizer.ggml.eom_token_id", vocabulary)])
            if (id is { } value && !ids.Contains(value)) ids.Add(value);

        if (template is null || metadata.Strings("tokenizer.ggml.tokens") is not { } tokens
            || metadata.Ints("tokenizer.ggml.token_type") is not { } types) return ids;
        foreach (string text in (ReadOnlySpan<string>)["<|eot_id|>", "<|im_end|>", "<|end|>"])
        {
            if (!template.Contains(text)) continue;
            int id = Array.IndexOf(tokens, text);
            if (id >= 0 && id < types.Length && types[id] == ControlToken && !ids.Contains(id)) ids.Add(id);
        }

        return ids;
    }
}
