using LongCtx.Server;
using Microsoft.Extensions.Logging;

namespace LongCtx.Api.Tests;

public sealed class ServerSettingsTests : IDisposable
{
    readonly string directory = Directory.CreateTempSubdirectory("longctx").FullName;

    [Fact]
    public void Read_NothingGiven_IsTheDefaults()
    {
        ServerOptions options = Read();
        Assert.Equal(["http://127.0.0.1:8080"], options.Urls);
        Assert.Empty(options.Models);
        Assert.Equal("endless", options.Policy);
        Assert.Null(options.Capacity);
        Assert.Null(options.Threads);
        Assert.Equal((32, false, LogLevel.Information), (options.MaxBodyMebibytes, options.AllowRemote, options.Log));
    }

    [Fact]
    public void Read_CommandLine_SetsEveryOption()
    {
        ServerOptions options = Read(
            "--urls", "http://127.0.0.1:1;http://[::1]:2", "--model", "a", "--model=b", "--policy", "streaming", "--capacity", "512", "--threads=3",
            "--max-body-mib", "8", "--log", "warning", "--allow-remote");
        Assert.Equal(["http://127.0.0.1:1", "http://[::1]:2"], options.Urls);
        Assert.Equal(["a", "b"], options.Models);
        Assert.Equal(("streaming", 512, 3), (options.Policy, options.Capacity, options.Threads));
        Assert.Equal((8, true, LogLevel.Warning), (options.MaxBodyMebibytes, options.AllowRemote, options.Log));
    }

    [Fact]
    public void Read_SeveralSources_TheNearestWins()
    {
        WriteFile("""{"model": ["file1", "file2"], "policy": "window", "capacity": 100, /* why not */ "allow-remote": true, "urls": "http://127.0.0.1:5"}""");
        Dictionary<string, string> environment = new() { ["LONGCTX_POLICY"] = "full", ["LONGCTX_CAPACITY"] = "200", ["LONGCTX_MODEL"] = "env1;env2", ["OTHER"] = "x" };
        ServerOptions options = ServerSettings.Read(["--capacity", "300"], environment, directory);
        Assert.Equal(["env1", "env2"], options.Models);
        Assert.Equal(("full", 300, true), (options.Policy, options.Capacity, options.AllowRemote));
        Assert.Equal(["http://127.0.0.1:5"], options.Urls);
        Assert.Equal(["line"], ServerSettings.Read(["--model", "line"], environment, directory).Models);
    }

    [Theory]
    [InlineData("'extra' is not an option", "extra")]
    [InlineData("--colour is not an option", "--colour")]
    [InlineData("--colour", "--colour=red")]
    [InlineData("--model needs a value", "--model")]
    [InlineData("--model needs a value", "--model", "--policy", "full")]
    [InlineData("--capacity was given twice", "--capacity", "1", "--capacity", "2")]
    [InlineData("'many' is not a whole number", "--capacity", "many")]
    [InlineData("--capacity: it must be at least 1 token, not 0", "--capacity", "0")]
    [InlineData("not -5", "--capacity=-5")]
    [InlineData("--threads: it must be 1 to 256, not 0", "--threads", "0")]
    [InlineData("--threads", "--threads", "99999999999")]
    [InlineData("--max-body-mib: it must be 1 to 1023 MiB, not 4096", "--max-body-mib", "4096")]
    [InlineData("--policy: 'fast' is none of full, window, streaming, selfextend, endless", "--policy", "fast")]
    [InlineData("'maybe' is neither true nor false", "--allow-remote=maybe")]
    [InlineData("'3' is none of trace", "--log", "3")]
    [InlineData("--model: a model name or path must not be empty", "--model", " ")]
    [InlineData("is not an address like", "--urls", "8080")]
    [InlineData("is not an address like", "--urls", "")]
    [InlineData("must not have a path", "--urls", "http://127.0.0.1:8080/api")]
    [InlineData("put a TLS proxy in front", "--urls", "https://127.0.0.1:8080")]
    [InlineData("must begin with http://", "--urls", "ftp://127.0.0.1:8080")]
    [InlineData("'http://0.0.0.0:8080' can be reached from other machines", "--urls", "http://0.0.0.0:8080")]
    [InlineData("--allow-remote", "--urls", "http://*:8080")]
    [InlineData("--allow-remote", "--urls", "http://+:8080")]
    [InlineData("--allow-remote", "--urls", "http://[::]:8080")]
    [InlineData("--allow-remote", "--urls", "http://192.168.1.5:8080")]
    [InlineData("--allow-remote", "--urls", "http://example.org:8080")]
    [InlineData("--allow-remote", "--urls", "http://127.0.0.1:8080;http://0.0.0.0:8081")]
    public void Read_BadArgument_IsRefusedWithTheReason(string reason, params string[] arguments) =>
        Assert.Contains(reason, Assert.Throws<LongCtxException>(() => Read(arguments)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("http://localhost:8080")]
    [InlineData("http://127.0.0.5:80")]
    [InlineData("http://[::1]:0")]
    [InlineData("http://unix:/tmp/longctx.sock")]
    public void Read_LocalAddress_IsAccepted(string url) => Assert.Equal([url], Read("--urls", url).Urls);

    [Theory]
    [InlineData("{\"modle\": \"x\"}", "'modle' is not an option")]
    [InlineData("{\"capacity\": \"x\"}", "'x' is not a whole number")]
    [InlineData("{\"capacity\": [1, 2]}", "one value is needed, not 2")]
    [InlineData("{\"capacity\": 1, \"capacity\": 2}", "capacity")]
    [InlineData("{\"capacity\": ", "longctx.json")]
    [InlineData("[]", "one JSON object")]
    public void Read_BadFile_IsRefusedWithItsName(string content, string reason)
    {
        WriteFile(content);
        string message = Assert.Throws<LongCtxException>(() => Read()).Message;
        Assert.Contains(reason, message, StringComparison.Ordinal);
        Assert.Contains(ServerSettings.FileName, message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_UnknownEnvironmentVariable_IsRefusedByName()
    {
        Dictionary<string, string> environment = new() { ["LONGCTX_CAPCITY"] = "5" };
        string message = Assert.Throws<LongCtxException>(() => ServerSettings.Read([], environment, directory)).Message;
        Assert.Contains("LONGCTX_CAPCITY", message, StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(directory, recursive: true);

    ServerOptions Read(params string[] arguments) => ServerSettings.Read(arguments, new Dictionary<string, string>(), directory);

    void WriteFile(string content) => File.WriteAllText(Path.Combine(directory, ServerSettings.FileName), content);
}
