using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Tests.Tokenization;

public class PreTokenizerTests
{
    static readonly JsonElement Golden = JsonDocument.Parse(File.ReadAllBytes(Repository.Golden("pretokenizers.json"))).RootElement;

    static List<string> Pieces(PreTokenizer[] stages, string text)
    {
        List<string> pieces = [text];
        foreach (PreTokenizer stage in stages)
        {
            List<string> next = [];
            foreach (string piece in pieces)
                for (int i = 0, end; i < piece.Length; i = end) next.Add(piece[i..(end = stage.Next(piece, i))]);
            pieces = next;
        }
        return pieces;
    }

    static PreTokenizer[] Stages(string name) => name switch
    {
        "gpt-2" => [new Gpt2PreTokenizer()],
        "llama-bpe" => [new Llama3PreTokenizer(3)],
        "qwen2" => [new Llama3PreTokenizer(1)],
        "smollm" => [RunPreTokenizer.Digits(1), new Gpt2PreTokenizer()],
        "default" => [RunPreTokenizer.Punctuation(), new Gpt2PreTokenizer(), RunPreTokenizer.Digits(int.MaxValue), new DigitTriplePreTokenizer()],
        _ => throw new ArgumentException(name, nameof(name)),
    };

    [Theory]
    [InlineData("gpt-2")]
    [InlineData("llama-bpe")]
    [InlineData("qwen2")]
    [InlineData("smollm")]
    [InlineData("default")]
    public void Next_GoldenTexts_SplitsLikeThePublishedPattern(string name)
    {
        PreTokenizer[] stages = Stages(name);
        foreach (JsonElement item in Golden.GetProperty("cases").EnumerateArray())
        {
            string text = item.GetProperty("text").GetString()!;
            Assert.Equal(item.GetProperty(name).EnumerateArray().Select(e => e.GetString()), Pieces(stages, text).Where(p => p.Length > 0));
        }
    }

    [Theory]
    [InlineData("gpt-2")]
    [InlineData("llama-bpe")]
    [InlineData("qwen2")]
    [InlineData("smollm")]
    [InlineData("default")]
    public void FromGguf_NamedPreTokenizer_NeverMergesAcrossItsSplits(string name)
    {
        Tokenizer tokenizer = TokenizerLoader.FromGguf(Vocabularies.AllPairs(name));
        foreach (JsonElement item in Golden.GetProperty("cases").EnumerateArray())
        {
            string text = item.GetProperty("text").GetString()!;
            // All pairs of ASCII bytes merge, so any two that may be one token are.
            HashSet<int> boundaries = [0];
            int offset = 0;
            foreach (JsonElement piece in item.GetProperty(name).EnumerateArray()) boundaries.Add(offset += Encoding.UTF8.GetByteCount(piece.GetString()!));
            int at = 0;
            foreach (int id in tokenizer.Encode(text))
            {
                int end = at + tokenizer.TokenBytes(id).Length;
                Assert.DoesNotContain(Enumerable.Range(at + 1, end - at - 1), boundaries.Contains);
                at = end;
            }
            Assert.Equal(Encoding.UTF8.GetByteCount(text), at);
        }
    }

    [Fact]
    public void Normalization_GoldenTexts_EqualsUnicode()
    {
        foreach (JsonElement item in Golden.GetProperty("normalization").EnumerateArray())
        {
            string text = item[0].GetString()!;
            Assert.Equal(item[1].GetString(), UnicodeNormalization.ToNfc(new(text, null)).Text);
            Assert.Equal(item[2].GetString(), UnicodeNormalization.ToNfd(new(text, null)).Text);
        }
    }

    [Fact]
    public void Normalization_EveryCharacter_EqualsUnicode()
    {
        (StringBuilder nfc, StringBuilder nfd) = (new(), new());
        foreach (JsonElement range in Golden.GetProperty("assigned").EnumerateArray())
        {
            for (int c = range[0].GetInt32(); c <= range[1].GetInt32(); c++)
            {
                NormalizedText text = new(char.ConvertFromUtf32(c), null);
                nfc.Append(UnicodeNormalization.ToNfc(text).Text);
                nfd.Append(UnicodeNormalization.ToNfd(text).Text);
            }
        }
        Assert.Equal(Golden.GetProperty("NFC_sha256").GetString(), Hash(nfc));
        Assert.Equal(Golden.GetProperty("NFD_sha256").GetString(), Hash(nfd));

        static string Hash(StringBuilder text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
    }

    [Fact]
    public void ToNfc_ComposedText_KeepsOrigins()
    {
        NormalizedText text = UnicodeNormalization.ToNfc(new("xe\u0301ye\u0316\u0301z", null));
        Assert.Equal("xéyé\u0316z", text.Text);
        Assert.Equal([0, 1, 3, 4, 5, 7], Enumerable.Range(0, text.Text.Length).Select(text.OriginOf));
    }
}
