using LongCtx.Server;
using Microsoft.Extensions.Logging;

namespace LongCtx.Api.Tests;

public sealed class ServerSettingsTests : IDisposable
{
    static readonly string Hash = new('a', 64);
    static readonly string Alice = $$"""{"tenant": "alice", "sha256": "{{Hash}}"}""";

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
            "--urls", "http://127.0.0.1:1;http://[::1]:2", "--model", "a", "--model=b", "--adapter", "x=/tmp/x", "--adapter=b:y=/tmp/y", "--policy", "streaming", "--capacity", "512", "--threads=3",
            "--max-body-mib", "8", "--log", "warning", "--allow-remote", "--keys", $"[{Alice}]");
        Assert.Equal(["http://127.0.0.1:1", "http://[::1]:2"], options.Urls);
        Assert.Equal(["a", "b"], options.Models);
        Assert.Equal(["x=/tmp/x", "b:y=/tmp/y"], options.Adapters);
        Assert.Equal(("streaming", 512, 3), (options.Policy, options.Capacity, options.Threads));
        Assert.Equal((8, true, LogLevel.Warning), (options.MaxBodyMebibytes, options.AllowRemote, options.Log));
        Assert.Equal(new ApiKey("alice", Hash), Assert.Single(options.Keys));
    }

    [Fact]
    public void Read_KeysInFileAndEnvironment_AreTheSame()
    {
        string keys = $$"""[{"tenant": "alice", "sha256": "{{Hash}}", "name": "a; b", "max_conversations": 10, "max_live_turns": 2}, {"tenant": "b", "sha256": "{{new string('B', 64)}}"}]""";
        ApiKey[] expected = [new("alice", Hash) { Name = "a; b", MaxConversations = 10, MaxLiveTurns = 2 }, new("b", new string('B', 64))];
        WriteFile($$"""{"keys": {{keys}}}""");
        Assert.Equal(expected, Read().Keys);
        WriteFile("""{"keys": []}""");
        Assert.Equal(expected, ServerSettings.Read([], new Dictionary<string, string> { ["LONGCTX_KEYS"] = keys }, directory).Keys);
        Assert.Empty(Read().Keys);
        WriteFile($$"""{"keys": {{Alice}}}""");
        Assert.Equal([new("alice", Hash)], Read().Keys);
    }

    [Theory]
    [InlineData("keys must be", "[{\"tenant\": \"a\"}]")]
    [InlineData("keys must be", "[{\"tenant\": \"a\", \"sha256\": null}]")]
    [InlineData("keys must be", "[{\"tenant\": \"a\", \"sha256\": \"HASH\", \"secret\": \"x\"}]")]
    [InlineData("keys must be", "[{\"tenant\": \"a\", \"sha256\": \"HASH\", \"max_live_turns\": \"2\"}]")]
    [InlineData("keys must be", "[null]")]
    [InlineData("keys must be", "\"[{\"")]
    [InlineData("sha256 of tenant a must be the key's SHA-256 as 64 hex digits", "[{\"tenant\": \"a\", \"sha256\": \"lck_abc\"}]")]
    [InlineData("the tenant 'a b' must be", "[{\"tenant\": \"a b\", \"sha256\": \"HASH\"}]")]
    [InlineData("the tenant '' must be", "[{\"tenant\": \"\", \"sha256\": \"HASH\"}]")]
    [InlineData("max_conversations of tenant a must be at least 1, not 0", "[{\"tenant\": \"a\", \"sha256\": \"HASH\", \"max_conversations\": 0}]")]
    [InlineData("max_live_turns of tenant a must be at least 1, not -1", "[{\"tenant\": \"a\", \"sha256\": \"HASH\", \"max_live_turns\": -1}]")]
    [InlineData("the same sha256 is given twice", "[{\"tenant\": \"a\", \"sha256\": \"HASH\"}, {\"tenant\": \"b\", \"sha256\": \"HASH\"}]")]
    [InlineData("different max_live_turns", "[{\"tenant\": \"a\", \"sha256\": \"HASH\", \"max_live_turns\": 1}, {\"tenant\": \"a\", \"sha256\": \"HASH2\", \"max_live_turns\": 2}]")]
    public void Read_BadKeys_AreRefusedWithTheReason(string reason, string keys)
    {
        WriteFile("{\"keys\": " + keys.Replace("HASH2", new string('b', 64), StringComparison.Ordinal).Replace("HASH", Hash, StringComparison.Ordinal) + "}");
        Assert.Contains(reason, Assert.Throws<LongCtxException>(() => Read()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_SeveralSources_TheNearestWins()
    {
        WriteFile("""{"model": ["file1", "file2"], "policy": "window", "capacity": 100, /* why not */ "allow-remote": true, "keys": """ + Alice + """, "urls": "http://127.0.0.1:5"}""");
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
    [InlineData("--adapter: 'x' must be NAME=DIR, or MODEL:NAME=DIR", "--adapter", "x")]
    [InlineData("--adapter: '=x' must be NAME=DIR, or MODEL:NAME=DIR", "--adapter", "=x")]
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
    [InlineData("without API keys only this machine may connect; make a key with --new-key TENANT", "--allow-remote")]
    [InlineData("without API keys only this machine may connect", "--urls", "http://0.0.0.0:8080", "--allow-remote")]
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
