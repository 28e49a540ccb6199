using System.Text.Json;
using System.Text.RegularExpressions;
using LongCtx.Client.Tests;

namespace LongCtx.Cli.Tests.Commands;

/// <summary>What a conversation learns from its own text, with a real server.</summary>
public sealed class AdapterCommandTests(RealServer server) : IClassFixture<RealServer>, IDisposable
{
    readonly string directory = Directory.CreateTempSubdirectory("longctx-cli").FullName;

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Set_EveryOption_IsTheSettingOfThatName()
    {
        string id = await CreateAsync();
        await JsonAsync("adapter", "set", id, "--rank", "4", "--alpha", "8.5", "--targets", "q,v", "--lr", "5e-4", "--epochs", "3", "--chunk", "64", "--prefix", "0", "--mode", "cached",
            "--start-after", "1000000", "--no-guard", "--dropout", "0.05", "--weight-decay", "0.1", "--gradient-clip", "0", "--warm-up", "4", "--max-stale", "2");
        AdapterSettings expected = new()
        {
            Rank = 4, Alpha = 8.5, Targets = ["q", "v"], LearningRate = 5e-4, Epochs = 3, Chunk = 64, Prefix = 0, Mode = AdapterSettings.Cached, StartAfter = 1_000_000, Guard = false,
            Dropout = 0.05, WeightDecay = 0.1, GradientClip = 0, WarmUp = 4, MaxStale = 2,
        };
        AdapterSettings set = (await server.Client().GetAdapterAsync(id, Cancellation)).Settings!;
        Assert.True(set.IsSameAs(expected), $"{set}");

        await JsonAsync("adapter", "set", id);
        set = (await server.Client().GetAdapterAsync(id, Cancellation)).Settings!;
        Assert.True(set.IsSameAs(new()), $"{set}");
        (_, string text, _) = await RunAsync("", "adapter", "show", id);
        Assert.Equal($"""
            {id} learns; the base model is in use, learned up to token 0
            rank 16, alpha 16, on q,k,v,o,gate,up,down; learning rate 0.001, 2 epochs of 256 tokens behind 256, recompute, guarded, when the window is full

            """.ReplaceLineEndings(), text);
    }

    [Fact]
    public async Task ResetAndDisable_SayWhatIsLeft()
    {
        string id = await CreateAsync();
        Assert.False((await JsonAsync("adapter", "show", id)).TryGetProperty("settings", out _));
        await RunAsync("", "adapter", "set", id);
        Assert.True((await JsonAsync("adapter", "reset", id)).GetProperty("is_enabled").GetBoolean());
        Assert.False((await JsonAsync("adapter", "disable", id)).GetProperty("is_enabled").GetBoolean());
        Assert.Contains("does not learn any more", (await RunAsync("", "adapter", "show", id)).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ShowAndExport_OfWhatWasLearned_AreItsHistoryAndAPeftDirectory()
    {
        await using RealServer learned = new() { Around = LearnedHost.Around };
        await learned.InitializeAsync();
        string[] at = ["--server", learned.Address.ToString()];
        string id = (await learned.Client().CreateConversationAsync(cancellation: Cancellation)).Id, path = Path.Combine(directory, "made", "adapter");
        (int exit, string output, string error) = await Cli.RunAsync("", ["adapter", "show", id, .. at]);
        Assert.Equal((0, ""), (exit, error));
        string[] lines = output.TrimEnd('\r', '\n').Split(Environment.NewLine);
        Assert.Equal($"{id} learns; version 3 since token 1024, learned up to token 1280, perplexity 21.8 % below the base model's", lines[0]);
        Assert.Equal("768..1024\t3\t3.700\t3.200\t2.800\t39.3 %\t1.6\t", lines[^1]);
        Assert.Equal($"512..768\t-\t3.600\t3.300\t3.000\t25.9 %\t1.4\t{LearnedJournal.Reason}", lines[^2]);
        Assert.Equal(21.75, (await Cli.JsonAsync(["adapter", "show", id, .. at])).GetProperty("gain_percent").GetDouble());

        for (int i = 0; i < 2; i++) Assert.Equal(3, (await Cli.JsonAsync(["adapter", "export", id, "--output", path, .. at])).GetProperty("version").GetInt32());
        Assert.Equal(LearnedHost.Export.Config, await File.ReadAllBytesAsync(Path.Combine(path, "adapter_config.json"), Cancellation));
        Assert.Equal(LearnedHost.Export.Weights, await File.ReadAllBytesAsync(Path.Combine(path, "adapter_model.safetensors"), Cancellation));
        Assert.Equal(2, Directory.GetFiles(path).Length);
        string file = Path.Combine(directory, "file");
        await File.WriteAllTextAsync(file, "", Cancellation);
        AssertRefused(file, await Cli.RunAsync("", ["adapter", "export", id, "--output", file, .. at]));
    }

    [Fact]
    public async Task Chat_Adapt_MakesAConversationThatLearnsAndTellsOfIt()
    {
        (int exit, _, string error) = await RunAsync("Hello\n", "chat", "--adapt", "--max-tokens", "4");
        Assert.True(exit == 0, error);
        string id = error.Trim().Split(' ')[^1];
        AdapterInfo info = await server.Client().GetAdapterAsync(id, Cancellation);
        Assert.True(info.IsEnabled && info.Settings!.IsSameAs(new()), $"{info}");

        using var terminal = new TestTerminal("/help\n/adapter\n/exit\n", isInteractive: true);
        Assert.Equal(0, await App.RunAsync(["chat", "--conversation", id, "--server", server.Address.ToString()], terminal.Terminal));
        string shown = Regex.Replace(terminal.Output, @"(\e\[[0-9;]*m|\s)+", " "); // neither dim nor wrapped
        Assert.Equal(2, shown.Split("/adapter tells what the conversation has learned").Length - 1);
        Assert.Contains("learns; the base model is in use, learned up to token 0", shown, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Mistakes_AreExitCode2AndOneLine()
    {
        string id = await CreateAsync(), missing = ConversationIds.New("small");
        await RefusedAsync(missing, "adapter", "show", missing);
        await RefusedAsync("has no adapter", "adapter", "reset", id);
        await RefusedAsync("nothing", "adapter", "export", id, "--output", directory);
        await RefusedAsync("--output", "adapter", "export", id);
        await RefusedAsync("--targets 'q,x'", "adapter", "set", id, "--targets", "q,x");
        await RefusedAsync("--targets 'q,q'", "adapter", "set", id, "--targets", "q,q");
        await RefusedAsync("--rank '0'", "adapter", "set", id, "--rank", "0");
        await RefusedAsync("above 0 up to 1", "adapter", "set", id, "--lr", "0");
        await RefusedAsync("give a number above 0", "adapter", "set", id, "--alpha", "inf");
        await RefusedAsync("give a number from 0 up", "adapter", "set", id, "--gradient-clip", "NaN");
        await RefusedAsync("not 1", "adapter", "set", id, "--dropout", "1");
        await RefusedAsync("other", "adapter", "set", id, "--mode", "other");
    }

    async Task<string> CreateAsync() => (await server.Client().CreateConversationAsync(cancellation: Cancellation)).Id;

    Task<(int Exit, string Output, string Error)> RunAsync(string input, params string[] arguments) => Cli.RunAsync(input, [.. arguments, "--server", server.Address.ToString()]);

    Task<JsonElement> JsonAsync(params string[] arguments) => Cli.JsonAsync([.. arguments, "--server", server.Address.ToString()]);

    async Task RefusedAsync(string expected, params string[] arguments) => AssertRefused(expected, await RunAsync("", arguments));

    static void AssertRefused(string expected, (int Exit, string Output, string Error) result)
    {
        Assert.Equal("", result.Output);
        Assert.Equal(1, result.Error.Count(c => c == '\n'));
        Assert.StartsWith("longctx: ", result.Error, StringComparison.Ordinal);
        Assert.Contains(expected, result.Error, StringComparison.Ordinal);
        Assert.Equal(2, result.Exit);
    }

    public void Dispose() => Directory.Delete(directory, recursive: true);
}
