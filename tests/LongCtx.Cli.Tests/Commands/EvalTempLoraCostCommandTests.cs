using System.Text.Json;

namespace LongCtx.Cli.Tests.Commands;

/// <summary>Against the table for Llama-2-7B that was counted by hand from the paper.</summary>
public sealed class EvalTempLoraCostCommandTests : IDisposable
{
    readonly string _config = Path.Combine(Path.GetTempPath(), Guid.NewGuid() + ".json");

    public EvalTempLoraCostCommandTests() => File.WriteAllText(_config, """
        {"model_type": "llama", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5}
        """);

    public void Dispose() => File.Delete(_config);

    [Theory]
    [InlineData(4096, 1024, 57.2, 19.1, 112.2)]
    [InlineData(4096, 2048, 28.6, 19.1, 86.5)]
    [InlineData(8192, 1024, 122.9, 17.6, 112.2)]
    [InlineData(16384, 1024, 280.1, 18.7, 112.2)]
    [InlineData(24576, 1024, 471.8, 20.5, 112.2)]
    [InlineData(24576, 2048, 235.9, 20.5, 86.5)]
    public async Task Llama7B_CostsWhatTheTableSays(int window, int chunk, double recomputing, double reusing, double training)
    {
        JsonElement report = await Cli.JsonAsync("eval", "temp-lora-cost", "--config", _config, "--windows", $"{window}", "--chunks", $"1024,{chunk}", "--prefix", "1024");
        Assert.Equal(6.607e9, report.GetProperty("parameters").GetDouble(), 1e6);
        JsonElement row = report.GetProperty("rows").EnumerateArray().First(r => r.GetProperty("chunk").GetInt32() == chunk);
        Assert.Equal(recomputing, row.GetProperty("recomputing_gflop").GetDouble(), 0.051);
        Assert.Equal(reusing, row.GetProperty("reusing_gflop").GetDouble(), 0.051);
        Assert.Equal(training, row.GetProperty("training_gflop").GetDouble(), 0.051);
    }

    /// <summary>The paper's claims, with 6 P for each trained token: an economical setting saves about 70 %, a luxurious one costs about 17 % more.</summary>
    [Fact]
    public async Task TheirOwnClaims_AreReached()
    {
        JsonElement[] rows = [.. (await Cli.JsonAsync("eval", "temp-lora-cost", "--config", _config, "--windows", "4096,24576", "--chunks", "1024,2048", "--prefix", "3072")).GetProperty("rows").EnumerateArray()];
        double Of(int window, int chunk, string name) => rows.Single(r => r.GetProperty("window").GetInt32() == window && r.GetProperty("chunk").GetInt32() == chunk).GetProperty(name).GetDouble();
        double large = Of(24576, 1024, "recomputing_gflop"), economical = Of(4096, 2048, "recomputing_gflop") + Of(4096, 2048, "training_once_gflop");
        Assert.Equal(-70.8, 100 * (economical / large - 1), 0.2);
    }
}
