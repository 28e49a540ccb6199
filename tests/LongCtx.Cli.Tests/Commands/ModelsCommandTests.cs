using System.Text.Json;

namespace LongCtx.Cli.Tests.Commands;

public sealed class ModelsCommandTests
{
    [Fact]
    public async Task Models_Bundled_AreDescribedWithTheirPolicy()
    {
        Dictionary<string, JsonElement> models = (await Cli.JsonAsync("models")).GetProperty("models").EnumerateArray()
            .ToDictionary(m => m.GetProperty("name").GetString()!);
        JsonElement smol = models["smollm2-135m-instruct"];
        Assert.Equal(("decoder", "llama", "Q4_1", 8192), (Text(smol, "kind"), Text(smol, "architecture"), Text(smol, "quantization"), smol.GetProperty("trained_length").GetInt32()));
        // The sinks hold the system turn that its template inserts: up to the second <|im_start|>, token 1.
        int system = Cli.Golden("smollm2/prompts.json")[0].GetProperty("ids").Ints().AsSpan(1).IndexOf(1) + 1;
        Assert.Equal($"{system},1024,1,4096,64", Text(smol, "policy"));
        Assert.InRange(smol.GetProperty("parameters").GetInt64(), 134_000_000, 135_000_000);
        Assert.Equal(512, models["pg19-7m"].GetProperty("trained_length").GetInt32());
        Assert.Equal("encoder", Text(models["all-minilm-l6-v2"], "kind"));
        Assert.False(models["all-minilm-l6-v2"].TryGetProperty("policy", out _));
        Assert.All(models.Values, m => Assert.True(m.GetProperty("bundled").GetBoolean() && m.GetProperty("file_bytes").GetInt64() > 1_000_000));
    }

    [Fact]
    public async Task Models_InAPipe_IsATabSeparatedTable()
    {
        (int exit, string output, _) = await Cli.RunAsync("", "models");
        Assert.Equal(0, exit);
        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(7, lines[0].Split('\t').Length);
        Assert.Contains(lines, l => l.StartsWith("pg19-7m\tllama\t7.0M\tBF16\t512\t", StringComparison.Ordinal));
    }

    static string Text(JsonElement model, string name) => model.GetProperty(name).GetString()!;
}
