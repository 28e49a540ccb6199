using System.Text.Json;
using LongCtx.Client.Tests;

namespace LongCtx.Cli.Tests.Commands;

/// <summary>The commands that talk to a server, with a real one.</summary>
public sealed class ConversationCommandTests(RealServer server) : IClassFixture<RealServer>, IDisposable
{
    readonly string directory = Directory.CreateTempSubdirectory("longctx-cli").FullName;

    [Fact]
    public async Task Chat_NewAndContinuedByAnotherProcess_IsOneConversation()
    {
        (int exit, string output, string error) = await RunAsync("Hello\n", "chat", "--conversation", "new", "--max-tokens", "8", "--system", "Be brief.", "--seed", "3");
        Assert.True(exit == 0, error);
        string id = error.Trim().Split(' ')[^1];
        (_, string second, _) = await RunAsync("And you?\n", "chat", "--conversation", id, "--max-tokens", "8", "--json");
        JsonElement reply = JsonDocument.Parse(second).RootElement;
        Assert.InRange(reply.GetProperty("completion_tokens").GetInt32(), 1, 8);
        Assert.True(reply.GetProperty("cached_tokens").GetInt32() > 0);

        JsonElement shown = await JsonAsync("conversations", "show", id);
        JsonElement[] messages = [.. shown.GetProperty("messages").EnumerateArray()];
        Assert.Equal(["system", "user", "assistant", "user", "assistant"], messages.Select(m => m.GetProperty("role").GetString()));
        Assert.Equal(output.TrimEnd('\n'), messages[2].GetProperty("content").GetString());
        Assert.Equal(reply.GetProperty("text").GetString(), messages[4].GetProperty("content").GetString());
        (_, string text, _) = await RunAsync("", "conversations", "show", id);
        Assert.Contains("user: And you?", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Feed_FileTwiceAndAFork_AppendsOnce()
    {
        string file = Path.Combine(directory, "book.txt");
        await File.WriteAllTextAsync(file, string.Concat(Enumerable.Range(0, 1000).Select(i => $"{i}: größer. ")), TestContext.Current.CancellationToken);
        string id = await CreateAsync();
        JsonElement first = await JsonAsync("feed", "--conversation", id, file), second = await JsonAsync("feed", "--conversation", id, file);
        Assert.Equal(new FileInfo(file).Length, first.GetProperty("bytes").GetInt64());
        Assert.Equal(first.GetProperty("pieces").GetInt64(), first.GetProperty("new_pieces").GetInt64());
        Assert.Equal(0, second.GetProperty("new_pieces").GetInt64());
        JsonElement fork = await JsonAsync("conversations", "fork", id, "--at", "1");
        Assert.Equal((1, $"{id}@1"), (fork.GetProperty("turns").GetInt32(), fork.GetProperty("forked_from").GetString()));
        await File.WriteAllTextAsync(file, "", TestContext.Current.CancellationToken);
        await RefusedAsync("there is nothing to feed", "feed", "--conversation", id, file);
    }

    [Fact]
    public async Task Export_ImportedAndDeleted_KeepsWhatWasSaid()
    {
        string id = await CreateAsync(), file = Path.Combine(directory, "export.jsonl");
        await RunAsync("Hello\n", "chat", "--conversation", id, "--max-tokens", "8");
        (_, string lines, _) = await RunAsync("", "conversations", "export", id);
        JsonElement exported = await JsonAsync("conversations", "export", id, "--output", file);
        Assert.Equal(lines, await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken));
        Assert.Equal(lines.Count(c => c == '\n'), exported.GetProperty("lines").GetInt32());

        string copy = (await JsonAsync("conversations", "import", file)).GetProperty("id").GetString()!;
        (_, string piped, _) = await RunAsync(lines, "conversations", "import", "-");
        foreach (string imported in (string[])[copy, piped.Trim()])
        {
            JsonElement shown = await JsonAsync("conversations", "show", imported), original = await JsonAsync("conversations", "show", id);
            Assert.Equal(original.GetProperty("messages").GetRawText(), shown.GetProperty("messages").GetRawText());
        }
        Assert.Contains(copy, (await RunAsync("", "conversations", "list")).Output, StringComparison.Ordinal);
        await JsonAsync("conversations", "delete", copy);
        await RefusedAsync("deleted", "conversations", "show", copy);
        JsonElement[] left = [.. (await JsonAsync("conversations", "list")).GetProperty("conversations").EnumerateArray()];
        Assert.DoesNotContain(copy, left.Select(c => c.GetProperty("id").GetString()));
    }

    [Fact]
    public async Task Mistakes_AreExitCode2AndOneLine()
    {
        string id = await CreateAsync(), missing = ConversationIds.New("small");
        await RefusedAsync("no such file", "feed", "--conversation", id, "/nowhere.txt");
        await RefusedAsync("--role", "feed", "--conversation", id, "--role", "king", "/nowhere.txt");
        await RefusedAsync(missing, "conversations", "show", missing);
        await RefusedAsync(missing, "chat", "--conversation", missing);
        await RefusedAsync("no meaning", "chat", "--conversation", id, "--capacity", "512");
        await RefusedAsync("has its own", "chat", "--conversation", id, "--system", "Be brief.");
        await RefusedAsync("adapter set", "chat", "--conversation", id, "--adapt");
        AssertRefused("need --conversation", await Cli.RunAsync("", "chat", "--server", "http://127.0.0.1:1"));
        AssertRefused("cannot be reached", await Cli.RunAsync("", "conversations", "list", "--server", "http://127.0.0.1:1"));
        AssertRefused("--server", await Cli.RunAsync("", "conversations", "list", "--server", "nowhere"));
    }

    async Task<string> CreateAsync() => (await server.Client().CreateConversationAsync(cancellation: TestContext.Current.CancellationToken)).Id;

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
