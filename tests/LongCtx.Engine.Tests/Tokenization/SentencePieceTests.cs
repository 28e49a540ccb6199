using System.Text;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Tests.Tokenization;

public class SentencePieceTests
{
    static readonly GgufTokenizerData Data = Vocabularies.SentencePiece();
    static readonly Tokenizer Scored = TokenizerLoader.FromGguf(Data);

    static string[] Tokens(Tokenizer tokenizer, string text, bool addSpecial = false) => [.. tokenizer.Encode(text, addSpecial: addSpecial).Select(id => Data.Tokens[id])];

    [Theory]
    [InlineData("hello world", "▁hello,▁world")]
    [InlineData("", "")]
    [InlineData(" ", "▁▁")]
    [InlineData("hello", "▁hello")]
    [InlineData("  hello", "▁▁,▁hello")]
    [InlineData("é日", "▁,é,日")]
    [InlineData("x", "▁,<0x78>")]
    [InlineData("🌍h", "▁,<0xF0>,<0x9F>,<0x8C>,<0x8D>,h")]
    [InlineData("<s>hello</s> world", "<s>,▁hello,</s>,▁▁,wor,ld")]
    [InlineData("<0x41>", "▁,<0x3C>,<0x30>,<0x78>,<0x34>,<0x31>,<0x3E>")]
    public void Encode_Scored_MergesTheBestScoreFirst(string text, string expected)
    {
        Assert.Equal(expected.Split(',', StringSplitOptions.RemoveEmptyEntries), Tokens(Scored, text));
    }

    /// <summary>The model of the merge rule: try every pair, take the best, start again.</summary>
    static List<int> Naive(string text)
    {
        Dictionary<string, int> ids = Data.Tokens.Select((t, i) => (t, i)).Skip(259).ToDictionary(p => p.t, p => p.i);
        List<string> symbols = text.Length == 0 ? [] : [.. ("▁" + text.Replace(' ', '▁')).EnumerateRunes().Select(r => r.ToString())];
        while (true)
        {
            int best = -1;
            float score = float.NegativeInfinity;
            for (int i = 0; i + 1 < symbols.Count; i++)
                if (ids.TryGetValue(symbols[i] + symbols[i + 1], out int id) && Data.Scores![id] > score) (best, score) = (i, Data.Scores[id]);
            if (best < 0) break;
            symbols[best] += symbols[best + 1];
            symbols.RemoveAt(best + 1);
        }
        return [.. symbols.SelectMany(s => ids.TryGetValue(s, out int id) ? [id] : Encoding.UTF8.GetBytes(s).Select(b => b + 3))];
    }

    [Fact]
    public void Encode_RandomWords_EqualsTheNaiveMerge()
    {
        string[] parts = ["h", "e", "l", "o", "w", "r", "d", " ", "é", "日", "x", "hello", " world", "ll"];
        RandomText.ForSeeds(500, random =>
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(30)).Select(_ => parts[random.Next(parts.Length)]));
            Assert.Equal(Naive(text), Scored.Encode(text));
            Assert.Equal(text, Scored.Decode(Scored.Encode(text), false));
        });
    }

    [Fact]
    public void Encode_SpecialsAndStarts_AreThoseOfLlama()
    {
        Assert.True(Scored.AddsBeginOfStream);
        Assert.Equal(["<s>", "▁hello"], Tokens(Scored, "hello", addSpecial: true));
        int[] ids = Scored.Encode("hello 🌍w</s>w", true, true, out int[] starts);
        Assert.Equal("<s>,▁hello,▁,<0xF0>,<0x9F>,<0x8C>,<0x8D>,w,</s>,▁w", string.Join(',', ids.Select(i => Data.Tokens[i])));
        Assert.Equal([0, 0, 5, 6, 6, 6, 6, 8, 9, 13], starts);
    }

    [Fact]
    public void Decode_LeadingBlank_GoesOnlyAtTheBeginning()
    {
        int hello = Array.IndexOf(Data.Tokens, "▁hello");
        Assert.Equal("hello hello", Scored.Decode([hello, hello], false));
        Assert.Equal("hello", Scored.Decode([1, hello], skipSpecial: true));
        Assert.Equal("<s> hello", Scored.Decode([1, hello], skipSpecial: false));
        Assert.Equal(" hello", new StreamingDecoder(Scored, continuation: true).Append(hello));
        StreamingDecoder decoder = new(Scored);
        Assert.Equal("hello", decoder.Append(hello));
        Assert.Equal(" hello", decoder.Append(hello));
    }

    [Fact]
    public void Append_RandomIds_ConcatenatesToTheWholeDecode()
    {
        RandomText.ForSeeds(500, random =>
        {
            int[] ids = [.. Enumerable.Range(0, random.Next(40)).Select(_ => random.Next(Scored.VocabularySize))];
            bool skip = random.Next(2) == 0;
            StreamingDecoder decoder = new(Scored, skip);
            Assert.Equal(Scored.Decode(ids, skip), string.Concat(ids.Select(decoder.Append)) + decoder.Flush());
        });
    }

    [Fact]
    public void FromJson_LlamaPipeline_MergesByRankAndFallsBackToBytes()
    {
        Tokenizer t = Vocabularies.Load(Vocabularies.SentencePieceJson("l l", "▁ h", "▁h e", "ll o", "▁he llo", "o r", "▁ w"));
        Assert.Equal(["▁hello", "▁w", "or", "l", "d"], Tokens(t, "hello world"));
        Assert.Equal(["<s>", "▁", "<0x78>", "é"], Tokens(t, "xé", addSpecial: true));
        Assert.Equal("hello xé", t.Decode(t.Encode("hello xé"), false));
        Assert.Equal(1, t.BeginOfStream);
    }

    [Theory]
    [InlineData("first", "▁hello,</s>,h,e,llo")]
    [InlineData("always", "▁hello,</s>,▁hello")]
    [InlineData("never", "h,e,llo,</s>,h,e,llo")]
    public void FromJson_Metaspace_PrependsByItsScheme(string scheme, string expected)
    {
        var json = Vocabularies.SentencePieceJson("l l", "▁ h", "▁h e", "ll o", "▁he llo");
        json["normalizer"] = null;
        json["pre_tokenizer"] = new System.Text.Json.Nodes.JsonObject { ["type"] = "Metaspace", ["replacement"] = "▁", ["prepend_scheme"] = scheme, ["split"] = false };
        Assert.Equal(expected, string.Join(',', Tokens(Vocabularies.Load(json), "hello</s>hello")));
    }

    [Fact]
    public void Encode_MegabyteOfOneLetter_TakesAboutLinearTime()
    {
        foreach (char c in " hlx日")
        {
            string text = new(c, 1 << 20);
            Assert.Equal(text, Scored.Decode(Scored.Encode(text), false));
        }
    }
}
