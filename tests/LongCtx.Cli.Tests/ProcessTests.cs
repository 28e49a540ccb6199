using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace LongCtx.Cli.Tests;

/// <summary>The program as a shell sees it: exit codes, streams, signals.</summary>
public sealed class ProcessTests
{
    [Fact]
    public async Task Help_AnyCommand_ExitsWith0()
    {
        (int exit, string output, _) = await RunAsync("", "--help");
        Assert.Equal(0, exit);
        foreach (string command in (string[])["chat", "serve", "generate", "tokenize", "embed", "models", "eval", "bench"])
            Assert.Contains(command, output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task UnknownModel_AnyCommand_ExitsWith2AndOneLine()
    {
        (int exit, string output, string error) = await RunAsync("", "tokenize", "--model", "nowhere", "--text", "a");
        Assert.Equal((2, ""), (exit, output));
        Assert.Single(error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public async Task Chat_PipedMessages_AnswersEach()
    {
        (int exit, string output, string error) = await RunAsync("Hello\nWhat next?\n", "chat", "--model", "pg19-7m", "--max-tokens", "5", "--seed", "1", "--json");
        Assert.Equal((0, ""), (exit, error));
        string[] replies = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(2, replies.Length);
        Assert.All(replies, r => Assert.StartsWith("{\"text\":", r, StringComparison.Ordinal));
        Assert.DoesNotContain("\"cached_tokens\":0", replies[1], StringComparison.Ordinal); // the second turn pays for what is new only
    }

    [Fact]
    public async Task Interrupt_DuringAnEvaluation_ExitsWith130AtOnce()
    {
        if (OperatingSystem.IsWindows()) Assert.Skip("signals are sent with kill(1)");
        using Process process = Start("eval", "free", "--model", "pg19-7m", "--tokens", "1000000");
        // The model is loaded and generation has begun once the threads have burnt this much time.
        while (process.TotalProcessorTime < TimeSpan.FromSeconds(1.5) && !process.HasExited)
        {
            await Task.Delay(50, TestContext.Current.CancellationToken);
            process.Refresh();
        }

        using (Process kill = Process.Start("kill", ["-INT", process.Id.ToString(CultureInfo.InvariantCulture)]))
            await kill.WaitForExitAsync(TestContext.Current.CancellationToken);
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        await process.WaitForExitAsync(patience.Token);
        Assert.Equal(130, process.ExitCode);
        Assert.Equal("", await process.StandardError.ReadToEndAsync(patience.Token));
    }

    static async Task<(int Exit, string Output, string Error)> RunAsync(string input, params string[] arguments)
    {
        using Process process = Start(arguments);
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, await output, await error);
    }

    static Process Start(params string[] arguments)
    {
        string dotnet = Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet";
        var start = new ProcessStartInfo(OperatingSystem.IsLinux() ? "env" : dotnet)
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            WorkingDirectory = Cli.Root,
        };
        if (OperatingSystem.IsLinux())
        {
            start.ArgumentList.Add("--default-signal=INT"); // a shell that runs the tests in the background has them, and their children, ignore it
            start.ArgumentList.Add(dotnet);
        }

        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "longctx.dll"));
        foreach (string argument in arguments) start.ArgumentList.Add(argument);
        return Process.Start(start)!;
    }
}
