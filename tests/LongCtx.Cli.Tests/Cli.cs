using System.Text.Json;

namespace LongCtx.Cli.Tests;

/// <summary>Runs the command line inside the test process.</summary>
internal static class Cli
{
    public static string Root { get; } = FindRoot();

    public static string Book => Path.Combine(AppContext.BaseDirectory, "Data/book-3125.txt");

    public static async Task<(int Exit, string Output, string Error)> RunAsync(string input, params string[] arguments)
    {
        using var terminal = new TestTerminal(input);
        int exit = await App.RunAsync(arguments, terminal.Terminal);
        return (exit, terminal.Output, terminal.Error);
    }

    /// <summary>Runs a command that has to succeed, and reads the one line of JSON it writes.</summary>
    public static async Task<JsonElement> JsonAsync(params string[] arguments)
    {
        (int exit, string output, string error) = await RunAsync("", [.. arguments, "--json"]);
        Assert.True(exit == 0, $"exit {exit}: {error}");
        Assert.Equal(1, output.Count(c => c == '\n'));
        return JsonDocument.Parse(output).RootElement;
    }

    public static string[] Names(this JsonElement element) => [.. element.EnumerateObject().Select(p => p.Name)];

    public static int[] Ints(this JsonElement element) => [.. element.EnumerateArray().Select(e => e.GetInt32())];

    public static JsonElement Golden(string name) =>
        JsonDocument.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Golden", name))).RootElement;

    static string FindRoot()
    {
        for (DirectoryInfo? d = new(AppContext.BaseDirectory); d is not null; d = d.Parent)
            if (File.Exists(Path.Combine(d.FullName, "global.json"))) return d.FullName;
        throw new InvalidOperationException("The tests must run from inside the checkout: global.json was not found above " + AppContext.BaseDirectory);
    }
}
