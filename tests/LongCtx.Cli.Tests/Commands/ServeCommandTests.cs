namespace LongCtx.Cli.Tests.Commands;

public sealed class ServeCommandTests
{
    [Fact]
    public async Task Serve_Help_ListsTheServersOwnOptions()
    {
        (int exit, string output, _) = await Cli.RunAsync("", "serve", "--help");
        Assert.Equal(0, exit);
        foreach (string option in (string[])["--urls", "--model", "--policy", "--capacity", "--threads"])
            Assert.Contains(option, output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Serve_Interrupted_EndsWith0AfterItHasSaidWhereItIs()
    {
        using var terminal = new TestTerminal();
        Task<int> serving = App.RunAsync(["serve", "--data", "none", "--model", "pg19-7m", "--urls", "http://127.0.0.1:0"], terminal.Terminal);
        while (!terminal.Output.Contains("Ctrl+C", StringComparison.Ordinal) && !serving.IsCompleted)
            await Task.Delay(20, TestContext.Current.CancellationToken);
        terminal.Interrupt.Raise();
        Assert.Equal(0, await serving);
        Assert.Contains("http://127.0.0.1:", terminal.Output, StringComparison.Ordinal);
        Assert.Contains("pg19-7m", terminal.Output, StringComparison.Ordinal);
        Assert.Equal("", terminal.Error);
    }
}
