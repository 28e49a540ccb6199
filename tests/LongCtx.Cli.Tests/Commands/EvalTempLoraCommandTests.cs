using System.Text.Json;

namespace LongCtx.Cli.Tests.Commands;

/// <summary>On the beginning of a book; the whole books against PyTorch are in bench/RESULTS.md, the first chunks in the engine's tests.</summary>
public sealed class EvalTempLoraCommandTests
{
    static Task<JsonElement> RunAsync(string[] options, int tokens = 1100) => Cli.JsonAsync(
        ["eval", "temp-lora", "--model", "pg19-7m", "--file", Path.Combine(AppContext.BaseDirectory, "Data", "book-3125.txt"), "--tokens", $"{tokens}", "--chunk", "128", "--prefix", "128", "--threads", "2", .. options]);

    [Fact]
    public async Task ABook_IsScoredAndLearned()
    {
        JsonElement report = await RunAsync([]);
        Assert.Equal(["tokens", "base_ppl", "lora_ppl", "gain_percent", "by_position", "seconds", "train_seconds", "flops", "rejected", "peak_memory_mb"], report.Names());
        Assert.Equal(7 * 128, report.GetProperty("tokens").GetInt32()); // the first chunk is not scored, the partial last one left out
        double plain = report.GetProperty("base_ppl").GetDouble(), adapted = report.GetProperty("lora_ppl").GetDouble();
        Assert.True(adapted < plain, $"{adapted} against {plain}");
        Assert.Equal(100 * (1 - adapted / plain), report.GetProperty("gain_percent").GetDouble(), 1e-9);
        JsonElement range = Assert.Single(report.GetProperty("by_position").EnumerateArray());
        Assert.Equal((0, 1024), (range.GetProperty("from").GetInt32(), range.GetProperty("to").GetInt32()));
        Assert.Equal(plain, range.GetProperty("base_ppl").GetDouble(), 1e-9);
    }

    [Theory]
    [InlineData("--cache-reuse", "2")]
    [InlineData("--policy", "streaming", "--capacity", "256")]
    [InlineData("--policy", "streaming", "--capacity", "256", "--mode", "cached")]
    [InlineData("--guard")]
    [InlineData("--targets", "q", "--rank", "4")]
    public async Task EveryWay_LearnsSomething(params string[] options)
    {
        JsonElement report = await RunAsync(options);
        Assert.InRange(report.GetProperty("gain_percent").GetDouble(), 0.05, 60);
    }

    [Fact]
    public async Task CachedAgainstAContext_EqualsRecomputeOfThatContext()
    {
        // The first update sees the same keys either way, so the second chunk is predicted alike.
        double cached = (await RunAsync(["--mode", "cached"], 384)).GetProperty("lora_ppl").GetDouble(), recomputed = (await RunAsync([], 384)).GetProperty("lora_ppl").GetDouble();
        Assert.Equal(recomputed, cached, 0.5);
    }

    [Fact]
    public async Task AnInventedAuthor_IsLearned_AndExcludesAFile()
    {
        JsonElement report = await Cli.JsonAsync("eval", "temp-lora", "--model", "pg19-7m", "--author", "5", "--tokens", "2000", "--chunk", "128", "--prefix", "128", "--threads", "2");
        Assert.Equal(14 * 128, report.GetProperty("tokens").GetInt32());
        Assert.True(report.GetProperty("gain_percent").GetDouble() > 5, $"{report}");
        (int exit, _, string error) = await Cli.RunAsync("", "eval", "temp-lora", "--author", "5", "--file", Cli.Book);
        Assert.Equal(2, exit);
        Assert.Contains("--file and --author exclude each other", error);
    }

    [Fact]
    public async Task TooShortAText_IsRefused()
    {
        (int exit, _, string error) = await Cli.RunAsync("", "eval", "temp-lora", "--model", "pg19-7m", "--file", Path.Combine(AppContext.BaseDirectory, "Data", "book-3125.txt"), "--tokens", "300", "--chunk", "256");
        Assert.Equal(2, exit);
        Assert.Contains("at least two chunks", error);
    }
}
