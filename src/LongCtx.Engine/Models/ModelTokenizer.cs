using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Models;

/// <summary>Builds the tokenizer that lies with a model's files.</summary>
public static class ModelTokenizer
{
    public static Tokenizer Load(ModelSource source)
    {
        if (source.Metadata is { } metadata) return TokenizerLoader.FromGguf(Describe(source.Path, metadata));
        if (source.TokenizerPath is null)
            throw new LongCtxException(ErrorCode.InvalidRequest, $"{source.Path} has no tokenizer.json: put the model's own beside its weights", "model");
        return TokenizerLoader.FromJson(source.TokenizerPath, source.TokenizerConfigPath);
    }

    /// <summary>Tokens at which a reply ends: what the files say, and what the tokenizer knows by its published names.</summary>
    public static IReadOnlySet<int> StopTokens(ModelSource source, Tokenizer tokenizer) =>
        new HashSet<int>([.. source.StopIds, .. tokenizer.EndOfGeneration]);

    static GgufTokenizerData Describe(string path, Files.GgufMetadata m)
    {
        const string key = "tokenizer.ggml.";
        return new()
        {
            Source = path,
            Model = m.String(key + "model") ?? throw m.Fail(key + "model", "the file holds no tokenizer (tokenizer.ggml.model is missing)"),
            Pre = m.String(key + "pre"),
            Tokens = m.Strings(key + "tokens") ?? throw m.Fail(key + "tokens", "the tokenizer has no tokens (tokenizer.ggml.tokens is missing)"),
            Scores = m.Floats(key + "scores"),
            TokenTypes = m.Ints(key + "token_type"),
            Merges = m.Strings(key + "merges"),
            BosId = m.Int(key + "bos_token_id"),
            EosId = m.Int(key + "eos_token_id"),
            EotId = m.Int(key + "eot_token_id"),
            UnkId = m.Int(key + "unknown_token_id"),
            PadId = m.Int(key + "padding_token_id"),
            ClsId = m.Int(key + "cls_token_id"),
            SepId = m.Int(key + "seperator_token_id"), // spelt so in the format
            AddBos = m.Bool(key + "add_bos_token"),
            AddEos = m.Bool(key + "add_eos_token"),
            AddSpacePrefix = m.Bool(key + "add_space_prefix"),
            ChatTemplate = m.String("tokenizer.chat_template"),
        };
    }
}
