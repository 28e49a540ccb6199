using System.Text.Json;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Tests.Tokenization;

public class GoldenTokenTests
{
    static JsonElement Golden(string name) => JsonDocument.Parse(File.ReadAllBytes(Repository.Golden(name))).RootElement;

    static int[] Ids(JsonElement item) => [.. item.GetProperty("ids").EnumerateArray().Select(e => e.GetInt32())];

    public static TheoryData<string, string> TextFiles => new() { { "smollm2", "text" }, { "pg19-7m", "text" } };

    [Theory, MemberData(nameof(TextFiles))]
    public void Encode_GoldenTexts_GivesReferenceIds(string model, string property)
    {
        foreach (JsonElement item in Golden(model + "/tokenizer.json").EnumerateArray())
            Assert.Equal(Ids(item), Bundled.Named(model).Encode(item.GetProperty(property).GetString()!));
    }

    [Theory]
    [InlineData("smollm2/prompts.json", "rendered")]
    [InlineData("smollm2/chat_template.json", "rendered")]
    [InlineData("pg19-7m/prompts.json", "prompt")]
    public void Encode_GoldenPrompts_GivesReferenceIds(string file, string property)
    {
        Tokenizer tokenizer = Bundled.Named(file.Split('/')[0]);
        foreach (JsonElement item in Golden(file).EnumerateArray())
            Assert.Equal(Ids(item), tokenizer.Encode(item.GetProperty(property).GetString()!));
    }

    [Fact]
    public void Encode_GoldenSentences_GivesReferenceWordPieces()
    {
        foreach (JsonElement item in Golden("minilm/embeddings.json").EnumerateArray())
        {
            int[] ids = Bundled.MiniLM.Encode(item.GetProperty("text").GetString()!, addSpecial: true);
            if (ids.Length > 256) ids = [.. ids[..255], ids[^1]];
            Assert.Equal(Ids(item), ids);
        }
    }

    [Theory]
    [InlineData("smollm2")]
    [InlineData("pg19-7m")]
    public void Decode_GoldenIds_GivesTextBack(string model)
    {
        foreach (JsonElement item in Golden(model + "/tokenizer.json").EnumerateArray())
            Assert.Equal(item.GetProperty("text").GetString(), Bundled.Named(model).Decode(Ids(item), skipSpecial: false));
    }

    [Fact]
    public void Decode_GreedyReply_GivesReferenceText()
    {
        foreach (JsonElement item in Golden("smollm2/prompts.json").EnumerateArray())
        {
            int[] ids = [.. item.GetProperty("greedy").EnumerateArray().Select(step => step[0].GetInt32())];
            Assert.Equal(item.GetProperty("text").GetString(), Bundled.SmolLM2.Decode(ids, skipSpecial: true));
        }
    }
}
