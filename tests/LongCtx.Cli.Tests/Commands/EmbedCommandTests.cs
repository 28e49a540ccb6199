using System.Text.Json;

namespace LongCtx.Cli.Tests.Commands;

public sealed class EmbedCommandTests
{
    [Fact]
    public async Task Embed_GoldenText_PointsTheSameWay()
    {
        JsonElement golden = Cli.Golden("minilm/embeddings.json").EnumerateArray().First();
        JsonElement result = await Cli.JsonAsync("embed", "--text", golden.GetProperty("text").GetString()!);
        Assert.Equal(["model", "tokens", "truncated", "embedding"], result.Names());
        double[] expected = Doubles(golden.GetProperty("embedding")), actual = Doubles(result.GetProperty("embedding"));
        Assert.Equal(384, actual.Length);
        Assert.InRange(expected.Zip(actual, (a, b) => a * b).Sum(), 0.9999, 1.0001);
        Assert.Equal(golden.GetProperty("ids").GetArrayLength(), result.GetProperty("tokens").GetInt32());
        Assert.False(result.GetProperty("truncated").GetBoolean());
    }

    [Fact]
    public async Task Embed_TextTooLong_SaysSo()
    {
        (int exit, string output, string error) = await Cli.RunAsync("", "embed", "--file", Cli.Book, "--json");
        Assert.Equal(0, exit);
        Assert.True(JsonDocument.Parse(output).RootElement.GetProperty("truncated").GetBoolean());
        Assert.Contains("not embedded", error, StringComparison.Ordinal);
    }

    static double[] Doubles(JsonElement array) => [.. array.EnumerateArray().Select(e => e.GetDouble())];
}
