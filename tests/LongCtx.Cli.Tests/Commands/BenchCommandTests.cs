using System.Text.Json;

namespace LongCtx.Cli.Tests.Commands;

public sealed class BenchCommandTests
{
    [Fact]
    public async Task Bench_SmallLoads_ReportsEveryFigureAndNoAllocationPerStep()
    {
        JsonElement result = await Cli.JsonAsync("bench", "--model", "pg19-7m", "--threads", "2", "--prefill", "64,32", "--decode", "1@16,3@40", "--stream", "600,100");
        Assert.Equal(["threads", "load_ms", "peak_memory_mb", "prefill", "decode", "stream", "first_token_ms", "allocated_bytes_per_step"], result.Names());
        Assert.Equal(2, result.GetProperty("threads").GetInt32());
        Assert.True(result.GetProperty("first_token_ms").GetDouble() > result.GetProperty("load_ms").GetDouble());
        Assert.Equal([64, 32], result.GetProperty("prefill").EnumerateArray().Select(p => p.GetProperty("tokens").GetInt32()));
        Assert.Equal(["1@16", "3@40"], result.GetProperty("decode").EnumerateArray()
            .Select(d => $"{d.GetProperty("conversations").GetInt32()}@{d.GetProperty("context").GetInt32()}"));
        Assert.Equal([100, 600], result.GetProperty("stream").EnumerateArray().Select(s => s.GetProperty("position").GetInt32()));
        Assert.All(result.GetProperty("prefill").EnumerateArray(), p => Assert.Equal(["tokens", "tokens_per_second"], p.Names()));
        Assert.All(result.GetProperty("decode").EnumerateArray(), d => Assert.Equal(["conversations", "context", "tokens_per_second"], d.Names()));
        Assert.All(result.GetProperty("stream").EnumerateArray(), s => Assert.Equal(["position", "ms_per_token"], s.Names()));
        Assert.Equal(0, result.GetProperty("allocated_bytes_per_step").GetDouble());
    }

    [Fact]
    public async Task Bench_WithAdapters_ReportsThemBesidePlainBatching()
    {
        JsonElement result = await Cli.JsonAsync("bench", "--model", "pg19-7m", "--threads", "2", "--decode", "3@40", "--adapters", "2");
        JsonElement figure = Assert.Single(result.GetProperty("adapters").EnumerateArray());
        Assert.Equal(["conversations", "adapters", "rank", "context", "tokens_per_second", "p99_step_ms", "plain_tokens_per_second", "plain_p99_step_ms", "cost_percent"], figure.Names());
        Assert.Equal((3, 2, 8, 40), (figure.GetProperty("conversations").GetInt32(), figure.GetProperty("adapters").GetInt32(), figure.GetProperty("rank").GetInt32(), figure.GetProperty("context").GetInt32()));
        double with = figure.GetProperty("tokens_per_second").GetDouble(), without = figure.GetProperty("plain_tokens_per_second").GetDouble();
        Assert.Equal(100 * (1 - with / without), figure.GetProperty("cost_percent").GetDouble(), 6);
        Assert.True(figure.GetProperty("p99_step_ms").GetDouble() >= 1000 * 3 / with * 0.5);
        Assert.Equal(0, result.GetProperty("allocated_bytes_per_step").GetDouble());
    }

    [Fact]
    public async Task Bench_WithTraining_ReportsItBesideTheSameAdaptersAtRest()
    {
        JsonElement result = await Cli.JsonAsync("bench", "--model", "pg19-7m", "--threads", "2", "--decode", "3@40", "--adapters", "2", "--training", "--training-slice", "5", "--runs", "3");
        JsonElement figure = Assert.Single(result.GetProperty("training").EnumerateArray());
        Assert.Equal(["conversations", "adapters", "rank", "context", "chunk", "slice_ms", "tokens_per_second", "p50_step_ms", "p99_step_ms", "max_step_ms",
            "resting_tokens_per_second", "resting_p50_step_ms", "resting_p99_step_ms", "resting_max_step_ms", "trained_tokens_per_second", "updates", "rejected"], figure.Names());
        double Of(string name) => figure.GetProperty(name).GetDouble();
        Assert.Equal((3, 2, 8, 40, 5), (Of("conversations"), Of("adapters"), Of("rank"), Of("context"), Of("slice_ms")));
        Assert.True(Of("updates") > 0 && Of("trained_tokens_per_second") > 0, $"{figure}: nothing was learned");
        Assert.Equal(0, Of("rejected"));
        Assert.True(Of("p50_step_ms") <= Of("p99_step_ms") && Of("p99_step_ms") <= Of("max_step_ms"));
        Assert.True(Of("p50_step_ms") > Of("resting_p50_step_ms") + 3, $"{figure}: a slice of 5 ms must lie between two steps");
    }

    [Theory]
    [InlineData("--training needs --adapters", "--training")]
    [InlineData("--training-slice is of --training", "--adapters", "2", "--training-slice", "5")]
    public async Task Bench_TrainingWithoutWhatItNeeds_IsRefused(string expected, params string[] options)
    {
        (int exit, _, string error) = await Cli.RunAsync("", ["bench", "--model", "pg19-7m", "--decode", "1@16", .. options]);
        Assert.Equal(2, exit);
        Assert.Contains(expected, error);
    }

    [Fact]
    public async Task Bench_OnlyOneKindChosen_MeasuresOnlyThat()
    {
        JsonElement result = await Cli.JsonAsync("bench", "--model", "pg19-7m", "--prefill", "16");
        Assert.Empty(result.GetProperty("decode").EnumerateArray());
        Assert.Empty(result.GetProperty("stream").EnumerateArray());
        Assert.False(result.TryGetProperty("allocated_bytes_per_step", out _));
    }
}
