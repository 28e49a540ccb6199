using System.Text.Json;

namespace LongCtx.Cli.Tests.Commands;

public sealed class BenchStoreCommandTests
{
    /// <summary>Everything left out, to be followed by what a test wants.</summary>
    static readonly string[] s_nothing = ["bench", "store", "--model", "pg19-7m", "--threads", "1", "--seconds", "0", "--conversations", "0", "--cold", "0", "--stored", "0", "--streams", "0"];

    [Fact]
    public async Task BenchStore_Appends_EveryLevelAndNumberOfWriters()
    {
        JsonElement result = await RunAsync("--seconds", "1");
        Assert.Equal(["store"], result.Names());
        JsonElement[] figures = [.. result.GetProperty("store").EnumerateArray()];
        Assert.Equal(["relaxed 1", "relaxed 16", "relaxed 64", "standard 1", "standard 16", "standard 64", "strict 1", "strict 16", "strict 64"],
            figures.Select(f => $"{f.GetProperty("durability").GetString()} {f.GetProperty("writers").GetInt32()}"));
        Assert.All(figures, f => Assert.Equal(["store", "durability", "writers", "turns_per_second", "appends_per_second", "p50_ms", "p99_ms"], f.Names()));
        Assert.All(figures, f => Assert.Equal("sqlite", f.GetProperty("store").GetString()));
        AssertPositive(figures);
        Assert.All(figures, f => Assert.True(f.GetProperty("p99_ms").GetDouble() >= f.GetProperty("p50_ms").GetDouble()));
    }

    [Fact]
    public async Task BenchStore_Decode_BothKinds()
    {
        JsonElement decode = (await RunAsync("--conversations", "2", "--tokens", "8", "--runs", "3")).GetProperty("decode");
        Assert.Equal(["conversations", "stateless_tokens_per_second", "durable_tokens_per_second", "cost_percent", "turn_cost_percent"], decode.Names());
        AssertPositive(decode);
        Assert.InRange(decode.GetProperty("cost_percent").GetDouble(), double.MinValue, 100);
        Assert.InRange(decode.GetProperty("turn_cost_percent").GetDouble(), double.MinValue, 100);
    }

    /// <summary>The command itself fails where a conversation is restored in another way than it should be.</summary>
    [Fact]
    public async Task BenchStore_Cold_SavedAndComputedAgain()
    {
        JsonElement cold = (await RunAsync("--cold", "100", "--runs", "3")).GetProperty("cold");
        Assert.Equal(["tokens", "saved_ms", "replay_ms", "ratio"], cold.Names());
        Assert.InRange(cold.GetProperty("tokens").GetInt64(), 100, 200);
        Assert.Equal(cold.GetProperty("replay_ms").GetDouble() / cold.GetProperty("saved_ms").GetDouble(), cold.GetProperty("ratio").GetDouble(), 6);
    }

    [Fact]
    public async Task BenchStore_Stored_CountsThemAgainAfterTheRestart()
    {
        JsonElement stored = (await RunAsync("--stored", "120", "--runs", "3")).GetProperty("stored");
        Assert.Equal(["conversations", "created_per_second", "active_resident_mb", "close_ms", "disk_mb", "open_ms", "page_p50_ms", "page_p99_ms", "first_token_ms", "resident_mb"], stored.Names());
        Assert.Equal(120, stored.GetProperty("conversations").GetInt32());
        AssertPositive(stored);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task BenchStore_Streams_AllGetAllEventsOfTheTurn(int conversations)
    {
        JsonElement streams = (await RunAsync("--streams", "9", "--stream-conversations", $"{conversations}", "--tokens", "16", "--runs", "3")).GetProperty("streams");
        Assert.Equal(["streams", "conversations", "events", "open_ms", "first_end_ms", "last_end_ms", "events_per_second", "idle_resident_mb", "resident_mb"], streams.Names());
        Assert.Equal((9, conversations), (streams.GetProperty("streams").GetInt32(), streams.GetProperty("conversations").GetInt32()));
        Assert.InRange(streams.GetProperty("events").GetInt32(), 3, 18); // accepted, at least one group of tokens, completed
        Assert.True(streams.GetProperty("last_end_ms").GetDouble() >= streams.GetProperty("first_end_ms").GetDouble());
        AssertPositive(streams);
    }

    [Fact]
    public async Task BenchStore_EachKind_LeavesNothingBehind()
    {
        string data = Directory.CreateTempSubdirectory("longctx-bench-test").FullName;
        try
        {
            await RunAsync("--conversations", "1", "--tokens", "8", "--cold", "50", "--stored", "3", "--streams", "1", "--runs", "3", "--data", data);
            Assert.Empty(Directory.EnumerateFileSystemEntries(data));
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    /// <summary>Only what is chosen.</summary>
    static Task<JsonElement> RunAsync(params string[] chosen)
    {
        string[] kept = [.. s_nothing.Chunk(2).Where(pair => !chosen.Contains(pair[0])).SelectMany(pair => pair)];
        return Cli.JsonAsync([.. kept, .. chosen]);
    }

    /// <summary>Every number in these objects but for differences.</summary>
    static void AssertPositive(params IEnumerable<JsonElement> figures) => Assert.All(figures, f =>
        Assert.All(f.EnumerateObject().Where(p => p.Value.ValueKind == JsonValueKind.Number && !p.Name.EndsWith("_percent", StringComparison.Ordinal)), p => Assert.True(p.Value.GetDouble() > 0, $"{p.Name} is {p.Value}")));
}
