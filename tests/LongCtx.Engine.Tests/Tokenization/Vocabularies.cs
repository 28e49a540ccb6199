using System.Text;
using System.Text.Json.Nodes;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Tests.Tokenization;

/// <summary>Small vocabularies made up for tests.</summary>
internal static class Vocabularies
{
    /// <summary>All bytes, and all pairs of ASCII bytes as merges.</summary>
    public static GgufTokenizerData AllPairs(string pre)
    {
        List<string> tokens = [.. Enumerable.Range(0, 256).Select(b => ByteAlphabet.Of((byte)b))];
        List<string> merges = [];
        for (int a = 0; a < 128; a++)
        {
            for (int b = 0; b < 128; b++)
            {
                tokens.Add(tokens[a] + tokens[b]);
                merges.Add($"{tokens[a]} {tokens[b]}");
            }
        }
        return new GgufTokenizerData
        {
            Source = "pairs.gguf", Model = "gpt2", Pre = pre, Tokens = [.. tokens, "<s>"], Merges = [.. merges], BosId = tokens.Count,
            TokenTypes = [.. Enumerable.Repeat(1, tokens.Count), 3],
        };
    }

    /// <summary>A byte-level tokenizer.json: all bytes and the given merges, "a b" each.</summary>
    public static JsonObject ByteLevel(JsonNode? preTokenizer, params string[] merges)
    {
        JsonObject vocab = [];
        for (int b = 0; b < 256; b++) vocab[ByteAlphabet.Of((byte)b)] = b;
        foreach (string merge in merges) vocab.TryAdd(merge.Replace(" ", "", StringComparison.Ordinal), vocab.Count);
        return new JsonObject
        {
            ["added_tokens"] = new JsonArray(),
            ["normalizer"] = null,
            ["pre_tokenizer"] = preTokenizer ?? new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["use_regex"] = true },
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocab, ["merges"] = new JsonArray([.. merges.Select(m => (JsonNode)m)]) },
        };
    }

    static readonly string[] Words =
        ["▁", "▁▁", "h", "e", "l", "o", "w", "r", "d", "é", "日", "▁h", "▁he", "ll", "llo", "▁hello", "lo", "▁w", "or", "ld", "▁world", "wor", "orld", "el"];

    /// <summary>A Llama-2-like vocabulary: unknown, begin, end, 256 bytes, words with falling scores.</summary>
    public static GgufTokenizerData SentencePiece() => new()
    {
        Source = "sp.gguf",
        Model = "llama",
        Tokens = ["<unk>", "<s>", "</s>", .. Enumerable.Range(0, 256).Select(b => $"<0x{b:X2}>"), .. Words],
        Scores = [.. Enumerable.Repeat(0f, 259), .. Words.Select((_, i) => -(float)i)],
        TokenTypes = [2, 3, 3, .. Enumerable.Repeat(6, 256), .. Words.Select(_ => 1)],
        BosId = 1,
        EosId = 2,
        UnkId = 0,
    };

    /// <summary>The same as tokenizer.json, with Llama-2's pipeline.</summary>
    public static JsonObject SentencePieceJson(params string[] merges)
    {
        JsonObject vocab = [];
        foreach (string token in SentencePiece().Tokens) vocab[token] = vocab.Count;
        return JsonNode.Parse("""
            {
              "added_tokens": [
                {"id": 0, "content": "<unk>", "special": true, "normalized": false},
                {"id": 1, "content": "<s>", "special": true, "normalized": false},
                {"id": 2, "content": "</s>", "special": true, "normalized": false}],
              "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
              "pre_tokenizer": null,
              "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
              "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
              "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true}
            }
            """)!.AsObject() is var json && json["model"]!.AsObject() is var model && Add(model) ? json : throw new InvalidOperationException();

        bool Add(JsonObject model)
        {
            model["vocab"] = vocab;
            model["merges"] = new JsonArray([.. merges.Select(m => (JsonNode)m)]);
            return true;
        }
    }

    /// <summary>Loads a tokenizer.json from memory by way of a file.</summary>
    public static Tokenizer Load(JsonNode tokenizer, JsonNode? config = null) =>
        Load(Encoding.UTF8.GetBytes(tokenizer.ToJsonString()), config is null ? null : Encoding.UTF8.GetBytes(config.ToJsonString()));

    public static Tokenizer Load(ReadOnlySpan<byte> tokenizer, byte[]? config = null)
    {
        DirectoryInfo directory = Directory.CreateTempSubdirectory("longctx-tokenizer-");
        try
        {
            string json = Path.Combine(directory.FullName, "tokenizer.json"), configPath = Path.Combine(directory.FullName, "tokenizer_config.json");
            File.WriteAllBytes(json, tokenizer);
            if (config is not null) File.WriteAllBytes(configPath, config);
            return TokenizerLoader.FromJson(json, config is null ? null : configPath);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }
}
