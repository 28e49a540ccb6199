using System.Text;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Tests.Tokenization;

public class StreamingDecoderTests
{
    [Theory]
    [InlineData("smollm2")]
    [InlineData("pg19-7m")]
    [InlineData("minilm")]
    public void Append_RandomIds_ConcatenatesToTheWholeDecode(string model)
    {
        Tokenizer tokenizer = Bundled.Named(model);
        int[] partial = [.. Enumerable.Range(0, tokenizer.VocabularySize).Where(id => tokenizer.TokenBytes(id).ContainsAnyInRange((byte)0x80, (byte)0xFF))];
        RandomText.ForSeeds(500, random =>
        {
            bool skip = random.Next(2) == 0;
            int[] ids = [.. Enumerable.Range(0, random.Next(60)).Select(_ => random.Next(3) == 0 || partial.Length == 0
                ? random.Next(tokenizer.VocabularySize) : partial[random.Next(partial.Length)])];
            StreamingDecoder decoder = new(tokenizer, skip);
            StringBuilder text = new();
            foreach (int id in ids)
            {
                string part = decoder.Append(id);
                Assert.False(part.Length > 0 && (char.IsHighSurrogate(part[^1]) || char.IsLowSurrogate(part[0])), "a surrogate pair was split");
                text.Append(part);
            }
            text.Append(decoder.Flush());
            Assert.Equal(tokenizer.Decode(ids, skip), text.ToString());
        });
    }

    [Fact]
    public void Append_CharacterInPieces_ComesOutWhole()
    {
        StreamingDecoder decoder = new(Bundled.SmolLM2);
        int[] ids = Bundled.SmolLM2.Encode("🌍");
        Assert.Equal([10813, 230, 231], ids);
        Assert.Equal("", decoder.Append(ids[0]));
        Assert.Equal("", decoder.Append(ids[1]));
        Assert.Equal("🌍", decoder.Append(ids[2]));
        Assert.Equal("", decoder.Flush());
        decoder.Append(ids[0]);
        Assert.Equal("\uFFFDHello", decoder.Append(19556));
        decoder.Append(ids[0]);
        Assert.Equal("\uFFFD", decoder.Flush());
    }
}
