using System.Globalization;
using System.Text.Json;

namespace LongCtx.Cli.Tests.Commands;

public sealed class EvalPerplexityCommandTests
{
    /// <summary>Nats per token: float32 goldens against f16 keys and values and bfloat16 weights that are multiplied as they are.</summary>
    const double Tolerance = 0.005;

    [Theory]
    [InlineData("sinks+window, blocks of 32")]
    [InlineData("sinks+SelfExtend, large group")]
    public async Task Ppl_GoldenPolicies_GiveTheGoldensSums(string name)
    {
        JsonElement golden = Cli.Golden("pg19-7m/ppl.json").GetProperty("cases").EnumerateArray().Single(c => c.GetProperty("name").GetString() == name);
        JsonElement policy = golden.GetProperty("policy");
        string rule = string.Join(',', ((string[])["S", "W", "G", "C", "B"]).Select(n => policy.GetProperty(n).GetInt32()));
        JsonElement result = await Cli.JsonAsync("eval", "ppl", "--model", "pg19-7m", "--file", Cli.Book, "--tokens", "1537", "--rule", rule);

        Assert.Equal(["tokens", "mean_nll", "ppl", "tokens_per_second", "peak_memory_mb", "by_position"], result.Names());
        Assert.Equal(1537, result.GetProperty("tokens").GetInt32());
        Assert.True(result.GetProperty("peak_memory_mb").GetDouble() > 1);
        double mean = result.GetProperty("mean_nll").GetDouble();
        Assert.Equal(Math.Exp(mean), result.GetProperty("ppl").GetDouble(), 6);

        JsonElement[] ranges = [.. result.GetProperty("by_position").EnumerateArray()];
        Assert.Equal(["from", "to", "ppl", "nll"], ranges[0].Names());
        Assert.Equal(12, ranges.Length);
        foreach (JsonElement point in golden.GetProperty("nll_sum_at").EnumerateArray().Take(3))
        {
            int count = point[0].GetInt32();
            double sum = ranges.Where(r => r.GetProperty("to").GetInt32() <= count).Sum(r => r.GetProperty("nll").GetDouble());
            Assert.InRange(sum - point[1].GetDouble(), -Tolerance * count, Tolerance * count);
        }

        Assert.Equal(mean * 1536, ranges.Sum(r => r.GetProperty("nll").GetDouble()), 6);
    }

    [Fact]
    public async Task Ppl_AnyChunk_GivesTheSameFigure()
    {
        string[] arguments = ["eval", "ppl", "--model", "pg19-7m", "--file", Cli.Book, "--tokens", "300", "--rule", "4,32,4,128,16"];
        double whole = (await Cli.JsonAsync(arguments)).GetProperty("mean_nll").GetDouble();
        Assert.Equal(whole, (await Cli.JsonAsync([.. arguments, "--chunk", "7"])).GetProperty("mean_nll").GetDouble());
    }

    [Theory]
    [InlineData("--rule", "0,1,1,0,1", "unlimited")]
    [InlineData("--policy", "full", "unlimited")]
    [InlineData("--rule", "4,1,1,600,8", "512")]
    [InlineData("--rule", "4,1,1,0,8", "512")]
    public async Task Ppl_UnlimitedOrBeyondTheBound_WarnsAndGoesOn(string option, string value, string expected)
    {
        (int exit, string output, string error) = await Cli.RunAsync("", "eval", "ppl", "--model", "pg19-7m", "--file", Cli.Book, "--tokens", "650", option, value, "--json");
        Assert.Equal(0, exit);
        Assert.StartsWith("{\"tokens\":650,", output, StringComparison.Ordinal);
        Assert.StartsWith("longctx: warning: ", error, StringComparison.Ordinal);
        Assert.Contains(expected, error, StringComparison.Ordinal);
        Assert.Equal(1, error.Count(c => c == '\n'));
    }

    [Fact]
    public async Task Ppl_CapacityZeroWithAPreset_IsUnlimited()
    {
        string[] arguments = ["eval", "ppl", "--model", "pg19-7m", "--file", Cli.Book, "--tokens", "200"];
        double full = (await Cli.JsonAsync([.. arguments, "--policy", "full"])).GetProperty("mean_nll").GetDouble();
        double unlimited = (await Cli.JsonAsync([.. arguments, "--policy", "streaming", "--capacity", "0"])).GetProperty("mean_nll").GetDouble();
        Assert.Equal(full, unlimited, 3); // sinks are summed apart, so not to the bit
        Assert.NotEqual(full, (await Cli.JsonAsync([.. arguments, "--policy", "streaming", "--capacity", "64"])).GetProperty("mean_nll").GetDouble(), 3);
    }

    [Fact]
    public async Task Ppl_MoreTokensThanTheFileHas_UsesAllAndSaysSo()
    {
        string file = Path.Combine(Path.GetTempPath(), $"longctx-{Guid.NewGuid():N}.txt");
        await File.WriteAllTextAsync(file, "Hello world", TestContext.Current.CancellationToken);
        try
        {
            (int exit, string output, string error) = await Cli.RunAsync("", "eval", "ppl", "--model", "pg19-7m", "--file", file, "--tokens", "100", "--json");
            Assert.Equal(0, exit);
            Assert.StartsWith("{\"tokens\":4,", output, StringComparison.Ordinal);
            Assert.Contains("only 4 tokens", error, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Ppl_AnotherCulture_WritesTheSameNumbers()
    {
        CultureInfo before = CultureInfo.CurrentCulture;
        var comma = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        comma.NumberFormat.NumberDecimalSeparator = ",";
        CultureInfo.CurrentCulture = comma;
        try
        {
            (_, string output, _) = await Cli.RunAsync("", "eval", "ppl", "--model", "pg19-7m", "--file", Cli.Book, "--tokens", "50");
            Assert.Matches(@"\d\.\d{5} nats per token", output);
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }
}
