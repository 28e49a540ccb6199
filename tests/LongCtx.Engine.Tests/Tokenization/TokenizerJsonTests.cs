using System.Text.Json.Nodes;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Tests.Tokenization;

public class TokenizerJsonTests
{
    const string Llama3 = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const string Qwen2 = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    static JsonObject Added(int id, string content, bool special = true, params string[] flags)
    {
        JsonObject token = new() { ["id"] = id, ["content"] = content, ["special"] = special, ["normalized"] = false };
        foreach (string flag in flags) token[flag] = true;
        return token;
    }

    static string[] Texts(Tokenizer t, string text, bool parseSpecial = true) =>
        [.. t.Encode(text, parseSpecial).Select(id => System.Text.Encoding.UTF8.GetString(t.TokenBytes(id)))];

    [Theory]
    [InlineData(Llama3, "Isolated", false, "12,3,4")]
    [InlineData(Llama3, "Removed", true, "12,3,4")]
    [InlineData(Qwen2, "Isolated", false, "1,2,3,4")]
    public void FromJson_SplitPatterns_AreRecognised(string pattern, string behaviour, bool invert, string expected)
    {
        JsonObject json = Vocabularies.ByteLevel(null, "1 2", "3 4");
        json["pre_tokenizer"] = Split(pattern, behaviour, invert);
        Assert.Equal(expected, string.Join(',', Texts(Vocabularies.Load(json), "1234")));
    }

    static JsonObject Split(string pattern, string behaviour, bool invert) => new()
    {
        ["type"] = "Sequence",
        ["pretokenizers"] = new JsonArray(
            new JsonObject { ["type"] = "Split", ["pattern"] = new JsonObject { ["Regex"] = pattern }, ["behavior"] = behaviour, ["invert"] = invert },
            new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["use_regex"] = false }),
    };

    [Fact]
    public void FromJson_MergesAsPairs_EqualThoseAsText()
    {
        JsonObject text = Vocabularies.ByteLevel(null, "t h", "th e"), pairs = Vocabularies.ByteLevel(null, "t h", "th e");
        pairs["model"]!["merges"] = new JsonArray(new JsonArray("t", "h"), new JsonArray("th", "e"));
        Assert.Equal(["the", "n"], Texts(Vocabularies.Load(text), "then"));
        Assert.Equal(["the", "n"], Texts(Vocabularies.Load(pairs), "then"));
    }

    [Fact]
    public void FromJson_IgnoreMerges_TakesAWholePieceThatIsAToken()
    {
        JsonObject json = Vocabularies.ByteLevel(null, "b c");
        json["model"]!["vocab"]!["abc"] = 300;
        Assert.Equal(["a", "bc"], Texts(Vocabularies.Load(json), "abc"));
        json["model"]!["ignore_merges"] = true;
        Assert.Equal(["abc"], Texts(Vocabularies.Load(json), "abc"));
        Assert.Equal(["a", "bc", "d"], Texts(Vocabularies.Load(json), "abcd"));
    }

    [Fact]
    public void FromJson_NfcNormalizer_ComposesAndKeepsStarts()
    {
        JsonObject json = Vocabularies.ByteLevel(null, "Ã ©");
        json["normalizer"] = new JsonObject { ["type"] = "Sequence", ["normalizers"] = new JsonArray(new JsonObject { ["type"] = "NFC" }) };
        Tokenizer t = Vocabularies.Load(json);
        int[] ids = t.Encode("ae\u0301b", true, false, out int[] starts);
        Assert.Equal("aéb", t.Decode(ids, false));
        Assert.Equal([0, 1, 3], starts);
    }

    [Fact]
    public void FromJson_AddedTokenFlags_AreHonoured()
    {
        JsonObject json = Vocabularies.ByteLevel(null);
        json["added_tokens"] = new JsonArray(
            Added(256, "<a>"), Added(257, "<a>b"), Added(258, "[l]", true, "lstrip"), Added(259, "[r]", true, "rstrip"), Added(260, "word", false, "single_word"));
        Tokenizer t = Vocabularies.Load(json);
        Assert.Equal(["<a>", "c", "<a>b"], Texts(t, "<a>c<a>b"));
        Assert.Equal(["x", "[l]", "[r]", "y"], Texts(t, "x  [l][r] \n y"));
        Assert.Equal(["word", ".", "word"], Texts(t, "word.word"));
        Assert.Equal("swordy", string.Concat(Texts(t, "swordy").Where(s => s.Length == 1)));
        Assert.Equal(["word"], Texts(t, "word", parseSpecial: false));
        Assert.Equal(["<", "a", ">"], Texts(t, "<a>", parseSpecial: false));
        Assert.False(t.IsSpecial(260));
        Assert.True(t.IsSpecial(256));
        t.Encode("x  [l] y", true, false, out int[] starts);
        Assert.Equal([0, 1, 6, 7], starts);
    }

    [Fact]
    public void FromJson_NormalizedAddedToken_IsFoundInNormalizedText()
    {
        JsonObject json = Vocabularies.ByteLevel(null);
        json["normalizer"] = new JsonObject { ["type"] = "Lowercase" };
        JsonObject added = Added(256, "Stop", special: false);
        added["normalized"] = true;
        json["added_tokens"] = new JsonArray(added);
        Tokenizer t = Vocabularies.Load(json);
        int[] ids = t.Encode("a STOP b", true, false, out int[] starts);
        Assert.Equal(256, ids[2]);
        Assert.Equal([0, 1, 2, 6, 7], starts);
    }

    [Fact]
    public void FromJson_PrefixSpace_IsAddedOnceAndNotCounted()
    {
        Tokenizer t = Vocabularies.Load(Vocabularies.ByteLevel(new JsonObject { ["type"] = "ByteLevel" }, "Ġ a"));
        int[] ids = t.Encode("ab", true, false, out int[] starts);
        Assert.Equal(" ab", t.Decode(ids, false));
        Assert.Equal([0, 1], starts);
        Assert.Equal(t.Encode("a"), t.Encode(" a"));
    }

    [Fact]
    public void FromJson_Configuration_NamesSpecialTokensAndTemplate()
    {
        JsonObject json = Vocabularies.ByteLevel(null);
        json["added_tokens"] = new JsonArray(Added(256, "<s>"), Added(257, "</s>"), Added(258, "<|im_end|>"));
        Tokenizer t = Vocabularies.Load(json, JsonNode.Parse("""
            {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "add_bos_token": true, "add_eos_token": false,
             "chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]}
            """));
        Assert.Equal((256, 257, true, "yes"), (t.BeginOfStream, t.EndOfStream, t.AddsBeginOfStream, t.ChatTemplate));
        Assert.Equal([257, 258], t.EndOfGeneration.Order());
        Assert.Equal(256, t.Encode("a", addSpecial: true)[0]);
        Assert.Equal(2, t.Encode("a", addSpecial: true).Length);
    }

    [Fact]
    public void FromJson_UnknownBytes_BecomeTheUnknownTokenOrNothing()
    {
        JsonObject json = Vocabularies.ByteLevel(null);
        json["model"]!["vocab"]!.AsObject().Remove("b");
        Assert.Equal(["a", "c"], Texts(Vocabularies.Load(json), "abbc"));
        json["added_tokens"] = new JsonArray(Added(256, "<unk>"));
        json["model"]!["unk_token"] = "<unk>";
        Tokenizer t = Vocabularies.Load(json);
        Assert.Equal([256, 256], t.Encode("abbc", true, false, out int[] starts)[1..3]);
        Assert.Equal([0, 1, 2, 3], starts);
        json["model"]!["fuse_unk"] = true;
        Assert.Equal(3, Vocabularies.Load(json).Encode("abbc").Length);
    }

    public static TheoryData<string, string> Refused => new()
    {
        { """{"model": {"type": "Unigram", "vocab": []}}""", "Unigram" },
        { """{"normalizer": {"type": "Precompiled"}}""", "Precompiled" },
        { """{"normalizer": {"type": "NFKC"}}""", "NFKC" },
        { """{"pre_tokenizer": {"type": "UnicodeScripts"}}""", "UnicodeScripts" },
        { """{"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated"}]}}""", "x+" },
        { """{"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "ByteLevel"}]}}""", "add_prefix_space" },
        { """{"post_processor": {"type": "Strange"}}""", "Strange" },
        { """{"post_processor": {"type": "BertProcessing", "cls": ["a", 99999], "sep": ["b", 1]}}""", "99999" },
        { """{"post_processor": {"type": "BertProcessing", "cls": [], "sep": []}}""", "cls" },
        { """{"added_tokens": [{"id": 5, "content": "x"}, {"id": 5, "content": "y"}]}""", "added_tokens[1]" },
        { """{"added_tokens": [{"id": 300, "content": "x"}, {"id": 301, "content": "x"}]}""", "added twice" },
        { """{"added_tokens": [{"id": 2147483647, "content": "x"}]}""", "out of range" },
        { """{"added_tokens": [{"id": -1, "content": "x"}]}""", "added_tokens[0].id" },
        { """{"added_tokens": [{"id": 300.5, "content": "x"}]}""", "whole number" },
        { """{"added_tokens": [{"content": "x"}]}""", "added_tokens[0]" },
        { """{"added_tokens": {}}""", "added_tokens: must be an array" },
        { """{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}""", "id 0" },
        { """{"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}, "merges": []}}""", "twice" },
        { """{"model": {"type": "BPE", "vocab": {}, "merges": []}}""", "empty" },
        { """{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}}""", "model.merges[0]: merges into or from \"ab\"" },
        { """{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}""", "model.merges[0]" },
        { """{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", 5]]}}""", "model.merges[0]" },
        { """{"model": {"type": "BPE", "vocab": {"a": 0}}}""", "merges" },
        { """{"model": {"type": "BPE", "vocab": [], "merges": []}}""", "vocab" },
        { """{"model": {"type": "BPE", "vocab": {"a": "0"}, "merges": []}}""", "\"a\"" },
        { """{"model": {"type": "BPE", "vocab": {"\ud800": 0}, "merges": []}}""", "Unicode" },
        { """{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["\ud800 a"]}}""", "Unicode" },
        { """{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "<unk>"}}""", "<unk>" },
        { """{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1}}""", "dropout" },
        { """{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "end_of_word_suffix": "</w>"}}""", "end_of_word_suffix" },
        { """{"pre_tokenizer": null, "model": {"type": "WordPiece", "vocab": {"a": 0}}}""", "unk_token" },
        { """{"model": null}""", "model" },
    };

    [Theory, MemberData(nameof(Refused))]
    public void FromJson_Unusable_IsRefusedByName(string overrides, string named)
    {
        // Appended, not parsed: JsonNode would not take duplicate names.
        JsonObject json = Vocabularies.ByteLevel(null, "a b");
        string[] replaced = [.. System.Text.Json.JsonDocument.Parse(overrides).RootElement.EnumerateObject().Select(p => p.Name)];
        foreach (string name in replaced) json.Remove(name);
        string text = json.ToJsonString()[..^1] + "," + overrides[1..];
        TokenizerException e = Assert.Throws<TokenizerException>(() => Vocabularies.Load(System.Text.Encoding.UTF8.GetBytes(text)));
        Assert.Contains(named, e.Message, StringComparison.Ordinal);
        Assert.Contains("tokenizer.json", e.File, StringComparison.Ordinal);
    }

    [Fact]
    public void FromGguf_Unusable_IsRefusedByName()
    {
        GgufTokenizerData good = Vocabularies.SentencePiece(), pairs = Vocabularies.AllPairs("gpt-2");
        Refuse(good with { Model = "rwkv" }, "rwkv");
        Refuse(good with { Tokens = [] }, "tokens");
        Refuse(good with { Scores = null }, "scores");
        Refuse(good with { Scores = [1f] }, "scores");
        Refuse(good with { TokenTypes = [1] }, "token_type");
        Refuse(good with { BosId = 99999 }, "bos_token_id");
        Refuse(good with { EosId = -1 }, "eos_token_id");
        Refuse(good with { BosId = null, AddBos = true }, "bos_token_id");
        Refuse(pairs with { Pre = "unheard-of" }, "unheard-of");
        Refuse(pairs with { Merges = null }, "merges");
        Refuse(pairs with { Merges = ["a zz"] }, "merges[0]");
        Refuse(pairs with { Merges = ["a b", "ab"] }, "merges[1]");

        static void Refuse(GgufTokenizerData data, string named)
        {
            TokenizerException e = Assert.Throws<TokenizerException>(() => TokenizerLoader.FromGguf(data));
            Assert.Contains(named, e.Message, StringComparison.Ordinal);
            Assert.StartsWith(data.Source, e.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void FromGguf_Bert_EqualsItsTokenizerJson()
    {
        // As the converter writes it: '▁' before words, nothing before continuations.
        JsonNode vocab = JsonNode.Parse(File.ReadAllBytes(Path.Combine(Repository.MiniLM, "tokenizer.json")))!["model"]!["vocab"]!;
        string[] tokens = [.. vocab.AsObject().OrderBy(p => (int)p.Value!).Select(p => p.Key)];
        int[] types = [.. tokens.Select(t => t is "[PAD]" or "[UNK]" or "[CLS]" or "[SEP]" or "[MASK]" ? 3 : 1)];
        Tokenizer gguf = TokenizerLoader.FromGguf(new GgufTokenizerData
        {
            Source = "bert.gguf", Model = "bert", TokenTypes = types, BosId = 101, SepId = 102, UnkId = 100,
            Tokens = [.. tokens.Select((t, i) => types[i] == 3 ? t : t.StartsWith("##", StringComparison.Ordinal) ? t[2..] : "▁" + t)],
        });
        RandomText.ForSeeds(200, random =>
        {
            string text = RandomText.Next(random);
            Assert.Equal(Bundled.MiniLM.Encode(text, true, true), gguf.Encode(text, true, true));
        });
    }
}
