using System.Text;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Tests.Tokenization;

public class HostileTokenizerTests
{
    static readonly byte[] Small = Encoding.UTF8.GetBytes(Vocabularies.SentencePieceJson("l l", "▁ h", "▁h e", "ll o", "▁he llo").ToJsonString());

    /// <summary>Loads what may be broken: either it works (and encodes), or the one exception that a file may cause.</summary>
    static TokenizerException? Try(ReadOnlySpan<byte> json, byte[]? config, string what)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            Tokenizer t = Vocabularies.Load(json, config);
            t.Decode(t.Encode("hello <s> wörld 🌍 1234", addSpecial: true), skipSpecial: false);
            return null;
        }
        catch (TokenizerException e)
        {
            return e;
        }
        catch (Exception e)
        {
            Assert.Fail($"{what}: {e}");
            throw;
        }
        finally
        {
            long allocated = GC.GetAllocatedBytesForCurrentThread() - before, bound = (8L << 20) + 200L * json.Length;
            Assert.True(allocated < bound, $"{what}: {json.Length} bytes of JSON made {allocated} bytes of objects");
        }
    }

    [Fact]
    public void FromJson_Truncated_IsRefusedWithItsPlace()
    {
        for (int length = 0; length < Small.Length; length += 37)
        {
            TokenizerException? e = Try(Small.AsSpan(0, length), null, $"cut at {length}");
            Assert.NotNull(e);
            Assert.Matches("^line [0-9]+, byte [0-9]+$", e.Location);
        }
    }

    [Fact]
    public void FromJson_FlippedBits_GiveATokenizerOrTheTypedError()
    {
        byte[] pg19 = File.ReadAllBytes(Path.Combine(Repository.Pg19, "tokenizer.json"));
        int refused = 0;
        for (int seed = 0; seed < 1500; seed++)
        {
            Random random = new(seed);
            byte[] json = [.. seed % 50 == 0 ? pg19 : Small];
            for (int n = random.Next(1, 5); n > 0; n--) json[random.Next(json.Length)] ^= (byte)(1 << random.Next(8));
            if (Try(json, null, $"seed {seed}") is not null) refused++;
        }
        Assert.InRange(refused, 100, 1499);
    }

    [Fact]
    public void FromJson_ReplacedValues_GiveATokenizerOrTheTypedError()
    {
        // Every value of the file in turn becomes something else of the wrong kind or size.
        string[] others = ["null", "true", "-1", "1e99", "2147483647", "99999999999999999999", "\"\"", "\"x\"", "[]", "{}", "[[]]", "{\"type\": \"Sequence\"}", "\"\\udc00\""];
        string json = Vocabularies.SentencePieceJson("l l", "▁ h").ToJsonString();
        int[] places = [.. Enumerable.Range(1, json.Length - 2).Where(i => json[i] == ':' && json[i - 1] == '"')];
        for (int k = 0; k < places.Length; k += places.Length / 150 + 1)
        {
            System.Text.Json.Utf8JsonReader reader = new(Encoding.UTF8.GetBytes(json[(places[k] + 1)..]), isFinalBlock: false, default);
            reader.Read();
            Assert.True(reader.TrySkip());
            int end = places[k] + 1 + Encoding.UTF8.GetCharCount(Encoding.UTF8.GetBytes(json[(places[k] + 1)..]).AsSpan(0, (int)reader.BytesConsumed));
            foreach (string other in others)
                Try(Encoding.UTF8.GetBytes(json[..(places[k] + 1)] + other + json[end..]), null, $"value at {places[k]} = {other}");
        }
    }

    public static TheoryData<string, string> Documents => new()
    {
        { "empty", "" },
        { "not JSON", "GGUF\0\0\0" },
        { "a number", "5" },
        { "an array", "[]" },
        { "null", "null" },
        { "no model", "{}" },
        { "deep arrays", new string('[', 1_000_000) },
        { "deep objects", string.Concat(Enumerable.Repeat("{\"a\":", 200_000)) },
        { "deep sequences", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":" + string.Concat(Enumerable.Repeat("{\"type\":\"Sequence\",\"pretokenizers\":[", 5000)) },
        { "many steps", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[" + string.Join(',', Enumerable.Repeat("{\"type\":\"NFC\"}", 10_000)) + "]}}" },
        { "invalid UTF-8", "{\"model\": \"\\ud800\"}" },
        { "merges without end", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[" + string.Join(',', Enumerable.Repeat("\"a a\"", 100_000)) + "]}}" },
        { "many added tokens", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[" + string.Join(',', Enumerable.Range(0, 70_000).Select(i => $"{{\"id\":{i},\"content\":\"<{i}>\"}}")) + "]}" },
        { "long added token", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{\"id\":1,\"content\":\"" + new string('<', 100_000) + "\"}]}" },
    };

    [Theory, MemberData(nameof(Documents))]
    public void FromJson_HostileDocument_IsRefused(string name, string json)
    {
        TokenizerException? e = Try(Encoding.UTF8.GetBytes(json), null, name);
        Assert.NotNull(e);
        Assert.InRange(e.Message.Length, 1, 600);
    }

    [Fact]
    public void FromJson_InvalidUtf8InText_IsRefused()
    {
        byte[] json = [.. Small];
        int at = json.AsSpan().IndexOf("\"<0x41>\""u8);
        json[at + 1] = 0xFF;
        Assert.NotNull(Try(json, null, "invalid UTF-8"));
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("{\"bos_token\": 5}")]
    [InlineData("{\"bos_token\": {\"content\": []}}")]
    [InlineData("{\"chat_template\": 5}")]
    [InlineData("{\"chat_template\": [{\"name\": \"default\"}]}")]
    [InlineData("{\"add_bos_token\": \"yes\"}")]
    [InlineData("{")]
    public void FromJson_BrokenConfiguration_IsRefusedNamingItsFile(string config)
    {
        TokenizerException? e = Try(Small, Encoding.UTF8.GetBytes(config), config);
        Assert.NotNull(e);
        Assert.EndsWith("tokenizer_config.json", e.File, StringComparison.Ordinal);
    }

    [Fact]
    public void FromJson_MissingFileOrDirectory_IsRefused()
    {
        Assert.Throws<TokenizerException>(() => TokenizerLoader.FromJson("/nonexistent/tokenizer.json", null));
        Assert.Throws<TokenizerException>(() => TokenizerLoader.FromJson(Path.GetTempPath(), null));
    }

    [Fact]
    public void FromJson_ByteOrderMark_IsSkipped()
    {
        Assert.Null(Try([0xEF, 0xBB, 0xBF, .. Small], null, "BOM"));
    }
}
