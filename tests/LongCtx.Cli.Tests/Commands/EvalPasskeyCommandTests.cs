using System.Text.Json;

namespace LongCtx.Cli.Tests.Commands;

public sealed class EvalPasskeyCommandTests
{
    [Fact]
    public async Task Passkey_InViewAndEvicted_IsFoundOnlyInView()
    {
        string[] arguments = ["eval", "passkey", "--length", "400", "--depth", "200", "--count", "2", "--filler", "repeated", "--seed", "3"];
        JsonElement seen = await Cli.JsonAsync([.. arguments, "--policy", "endless"]);
        Assert.Equal(["count", "found", "mean_nll"], seen.Names());
        Assert.Equal((2, 2), (seen.GetProperty("count").GetInt32(), seen.GetProperty("found").GetInt32()));
        Assert.InRange(seen.GetProperty("mean_nll").GetDouble(), 0, 2);

        JsonElement evicted = await Cli.JsonAsync([.. arguments, "--rule", "4,1,1,128,16"]);
        Assert.Equal(0, evicted.GetProperty("found").GetInt32());
        Assert.True(evicted.GetProperty("mean_nll").GetDouble() > 5);
    }

    [Fact]
    public async Task Passkey_SameSeed_GivesTheSameFigures()
    {
        string[] arguments = ["eval", "passkey", "--model", "pg19-7m", "--length", "400", "--depth", "100", "--count", "2", "--filler", "book", "--file", Cli.Book];
        string first = (await Cli.JsonAsync([.. arguments, "--seed", "5"])).GetRawText();
        Assert.Equal(first, (await Cli.JsonAsync([.. arguments, "--seed", "5"])).GetRawText());
        Assert.NotEqual(first, (await Cli.JsonAsync([.. arguments, "--seed", "6"])).GetRawText());
    }
}
