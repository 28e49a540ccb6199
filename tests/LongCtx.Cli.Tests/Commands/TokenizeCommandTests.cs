using System.Text.Json;

namespace LongCtx.Cli.Tests.Commands;

public sealed class TokenizeCommandTests
{
    [Theory]
    [InlineData("pg19-7m", "pg19-7m/tokenizer.json")]
    [InlineData("smollm2-135m-instruct", "smollm2/tokenizer.json")]
    public async Task Tokenize_GoldenTexts_GivesTheirIdsAndNothingElse(string model, string golden)
    {
        foreach (JsonElement text in Cli.Golden(golden).EnumerateArray())
        {
            JsonElement result = await Cli.JsonAsync("tokenize", "--model", model, "--text", text.GetProperty("text").GetString()!);
            Assert.Equal(["ids"], result.Names());
            Assert.Equal(text.GetProperty("ids").Ints(), result.GetProperty("ids").Ints());
        }
    }

    [Fact]
    public async Task Tokenize_File_IsReadAsItStands()
    {
        string file = Path.Combine(Path.GetTempPath(), $"longctx-{Guid.NewGuid():N}.txt");
        await File.WriteAllTextAsync(file, "tabs\tand\nnewlines\r\n\r\nmixed", TestContext.Current.CancellationToken);
        try
        {
            JsonElement result = await Cli.JsonAsync("tokenize", "--model", "pg19-7m", "--file", file);
            Assert.Equal([86, 427, 85, 200, 376, 201, 2725, 78, 1491, 204, 201, 204, 201, 79, 2353], result.GetProperty("ids").Ints());
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Tokenize_WithoutJson_WritesIdsOnOneLine() =>
        Assert.Equal((0, "42 469 81 986" + Environment.NewLine, ""), await Cli.RunAsync("", "tokenize", "--model", "pg19-7m", "--text", "Hello world"));

    [Fact]
    public async Task Tokenize_TextThatLooksLikeAResponseFile_IsText()
    {
        (int exit, _, string error) = await Cli.RunAsync("", "tokenize", "--model", "pg19-7m", "--text", "@nobody.rsp");
        Assert.Equal((0, ""), (exit, error));
    }
}
