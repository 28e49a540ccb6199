using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Tests.Tokenization;

public class TokenizerTests
{
    [Fact]
    public void Properties_BundledModels_AreThoseOfTheirFiles()
    {
        Assert.Equal((49152, 1, 2, false), Facts(Bundled.SmolLM2));
        Assert.Equal((4096, 0, 2, false), Facts(Bundled.Pg19));
        Assert.Equal((30522, 101, 102, true), Facts(Bundled.MiniLM));
        Assert.Equal([0, 2], Bundled.SmolLM2.EndOfGeneration.Order());
        Assert.Contains("<|im_start|>", Bundled.Pg19.ChatTemplate!, StringComparison.Ordinal);
        Assert.Equal(2, Bundled.SmolLM2.Find("<|im_end|>"));
        Assert.Null(Bundled.SmolLM2.Find("Hello"));
        Assert.True(Bundled.SmolLM2.IsSpecial(2));
        Assert.False(Bundled.SmolLM2.IsSpecial(19556));
        Assert.Equal(" world"u8, Bundled.SmolLM2.TokenBytes(905));
        Assert.Throws<ArgumentOutOfRangeException>(() => Bundled.SmolLM2.TokenBytes(49152).Length);

        static (int, int?, int?, bool) Facts(Tokenizer t) => (t.VocabularySize, t.BeginOfStream, t.EndOfStream, t.AddsBeginOfStream);
    }

    [Fact]
    public void Encode_WithoutParsingSpecials_TreatsThemAsText()
    {
        int[] ids = Bundled.SmolLM2.Encode("<|im_start|>user", parseSpecial: false);
        Assert.DoesNotContain(ids, Bundled.SmolLM2.IsSpecial);
        Assert.Equal("<|im_start|>user", Bundled.SmolLM2.Decode(ids, skipSpecial: true));
        Assert.Equal([1, 4093], Bundled.SmolLM2.Encode("<|im_start|>user"));
        Assert.Equal("user", Bundled.SmolLM2.Decode([1, 4093], skipSpecial: true));
    }

    [Theory]
    [InlineData("smollm2")]
    [InlineData("pg19-7m")]
    [InlineData("minilm")]
    public void Encode_LoneSurrogates_CountAsReplacementCharacters(string model)
    {
        Tokenizer tokenizer = Bundled.Named(model);
        foreach (string text in (string[])["\uD800", "a\uDC00b", "\uDC00\uD800", "x\uD83D", "\uD800\uD83C\uDF0D\uDFFF"])
            Assert.Equal(tokenizer.Encode(Replaced(text)), tokenizer.Encode(text));

        static string Replaced(string text) => System.Text.Encoding.UTF8.GetString(System.Text.Encoding.UTF8.GetBytes(text));
    }

    [Theory]
    [InlineData("smollm2")]
    [InlineData("pg19-7m")]
    public void Encode_RandomUnicode_DecodesToItself(string model)
    {
        Tokenizer tokenizer = Bundled.Named(model);
        RandomText.ForSeeds(300, random =>
        {
            string text = RandomText.Next(random);
            // SmolLM2 has no token for six control bytes and for the lead bytes F1 and F2; published tokenizers drop them.
            if (model == "smollm2") text = RandomText.WithoutDroppedBytes(text);
            Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text, parseSpecial: random.Next(2) == 0), skipSpecial: false));
        });
    }

    [Theory]
    [InlineData("smollm2")]
    [InlineData("pg19-7m")]
    public void Encode_WithStarts_SaysWhereEachTokensFirstByteLies(string model)
    {
        Tokenizer tokenizer = Bundled.Named(model);
        RandomText.ForSeeds(300, random =>
        {
            string text = RandomText.Next(random);
            if (model == "smollm2") text = RandomText.WithoutDroppedBytes(text);
            int[] ids = tokenizer.Encode(text, true, false, out int[] starts);
            Assert.Equal(tokenizer.Encode(text), ids);

            // Byte offset to char index, the slow way.
            List<int> charOfByte = [];
            int index = 0;
            foreach (System.Text.Rune rune in text.EnumerateRunes())
            {
                charOfByte.AddRange(Enumerable.Repeat(index, rune.Utf8SequenceLength));
                index += rune.Utf16SequenceLength;
            }
            int offset = 0;
            for (int i = 0; i < ids.Length; offset += tokenizer.TokenBytes(ids[i++]).Length) Assert.Equal(charOfByte[offset], starts[i]);
        });
    }

    [Fact]
    public void Encode_WithStartsAndDroppedBytes_KeepsLaterPositions()
    {
        Bundled.SmolLM2.Encode("a\u0004b \u0006\u0006word", true, false, out int[] starts);
        int[] ids = Bundled.SmolLM2.Encode("ab word", true, false, out int[] plain);
        Assert.Equal([0, 2, 3, 6], starts);
        Assert.Equal(ids.Length, plain.Length);
    }

    [Fact]
    public void Encode_WordPieceWithStarts_PointsIntoTheOriginalText()
    {
        const string Text = "  Naïve  CAFÉ,東京!";
        int[] ids = Bundled.MiniLM.Encode(Text, true, true, out int[] starts);
        string[] words = [.. ids.Select(id => System.Text.Encoding.UTF8.GetString(Bundled.MiniLM.TokenBytes(id)).Trim())];
        Assert.Equal(["[CLS]", "naive", "cafe", ",", "東", "京", "!", "[SEP]"], words);
        Assert.Equal([0, 2, 9, 13, 14, 15, 16, 17], starts);
    }

    [Fact]
    public void Encode_WordPieceBoundaries_FollowBert()
    {
        Tokenizer t = Bundled.MiniLM;
        int unknown = t.Find("[UNK]")!.Value;
        Assert.Equal(t.Encode("aaaa"), t.Encode("A\u0301a\u200Ba\u0000a"));
        Assert.Equal([unknown], t.Encode(new string('a', 101)));
        Assert.NotEqual([unknown], t.Encode(new string('a', 100)));
        Assert.Equal([unknown, .. t.Encode("x")], t.Encode("\U0001F9FF x"));
        Assert.Equal("hello, world!", t.Decode(t.Encode("Hello, World!"), true).Replace(" ,", ",", StringComparison.Ordinal).Replace(" !", "!", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("smollm2", "a")]
    [InlineData("smollm2", " ")]
    [InlineData("smollm2", "\n")]
    [InlineData("smollm2", "\u0301")]
    [InlineData("smollm2", "'")]
    [InlineData("smollm2", "<")]
    [InlineData("smollm2", "ab \n")]
    [InlineData("pg19-7m", "the")]
    [InlineData("pg19-7m", "日本")]
    [InlineData("minilm", "a")]
    [InlineData("minilm", "a\u0316\u0301")]
    [InlineData("minilm", " ")]
    public void Encode_MegabyteOfOnePattern_TakesAboutLinearTime(string model, string pattern)
    {
        Tokenizer tokenizer = Bundled.Named(model);
        int length = (1 << 20) / pattern.Length;
        string text = new System.Text.StringBuilder().Insert(0, pattern, length).ToString();
        System.Diagnostics.Stopwatch watch = System.Diagnostics.Stopwatch.StartNew();
        int[] ids = tokenizer.Encode(text);
        // A quadratic walk over a megabyte takes an hour; this takes a second or two.
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(60), $"took {watch.Elapsed}");
        if (model != "minilm") Assert.Equal(text, tokenizer.Decode(ids, false));
    }

    [Fact]
    public void Encode_FromManyThreads_GivesTheSameIds()
    {
        string[] texts = [.. Enumerable.Range(0, 400).Select(i => RandomText.Next(new Random(i)))];
        int[][] expected = [.. texts.Select(t => Bundled.Pg19.Encode(t))];
        Tokenizer fresh = Bundled.FromDirectory(Repository.Pg19);
        Parallel.For(0, 4, _ =>
        {
            for (int i = 0; i < texts.Length; i++) Assert.Equal(expected[i], fresh.Encode(texts[i]));
        });
    }
}
