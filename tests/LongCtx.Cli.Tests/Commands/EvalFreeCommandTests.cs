using System.Text.Json;

namespace LongCtx.Cli.Tests.Commands;

public sealed class EvalFreeCommandTests
{
    [Fact]
    public async Task Free_PastTheTrainedLength_ReportsEveryPart()
    {
        JsonElement result = await Cli.JsonAsync("eval", "free", "--model", "pg19-7m", "--tokens", "700", "--rule", "4,1,1,128,16", "--seed", "2");
        Assert.Equal(["tokens", "ms_per_token", "peak_memory_mb", "parts", "end"], result.Names());
        Assert.Equal(700, result.GetProperty("tokens").GetInt32());
        JsonElement part = Assert.Single(result.GetProperty("parts").EnumerateArray());
        Assert.Equal(["from", "to", "distinct_trigrams", "longest_repeat", "ms_per_token", "resident_memory_mb"], part.Names());
        Assert.Equal((0, 700), (part.GetProperty("from").GetInt32(), part.GetProperty("to").GetInt32()));
        Assert.InRange(part.GetProperty("distinct_trigrams").GetInt32(), 350, 698); // sampled at temperature 1: hardly a trigram comes twice
    }
}
