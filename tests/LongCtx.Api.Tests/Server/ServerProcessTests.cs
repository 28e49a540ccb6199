using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using LongCtx.Server;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;

namespace LongCtx.Api.Tests;

public sealed class ServerProcessTests
{
    readonly StringWriter output = new();
    readonly StringWriter errors = new();

    [Fact]
    public async Task Run_WithACollector_SendsItMetricsAndTraces()
    {
        ConcurrentDictionary<string, string> received = new();
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        await using WebApplication collector = builder.Build();
        collector.Run(async http =>
        {
            using MemoryStream body = new();
            await http.Request.Body.CopyToAsync(body);
            received.AddOrUpdate(http.Request.Path, Encoding.Latin1.GetString(body.ToArray()), (_, before) => before + Encoding.Latin1.GetString(body.ToArray()));
        });
        await collector.StartAsync(TestContext.Current.CancellationToken);
        using CancellationTokenSource stop = new();
        ServerOptions options = new() { Urls = ["http://127.0.0.1:0"], Models = ["pg19-7m"], Threads = 1, Data = ServerOptions.NoData, Log = LogLevel.None, Otlp = new(collector.Urls.Single()) };
        Task<int> running = ServerProcess.RunAsync(options, LocalHost.OpenAsync, output, TextWriter.Null, stop.Token);
        while (!output.ToString().Contains("page", StringComparison.Ordinal) && !running.IsCompleted) await Task.Delay(20, TestContext.Current.CancellationToken);
        using HttpClient client = new();
        string address = Regex.Match(output.ToString(), "http://127.0.0.1:[0-9]+").Value;
        Assert.True((await client.GetAsync($"{address}/v1/models", TestContext.Current.CancellationToken)).IsSuccessStatusCode);
        await stop.CancelAsync();
        Assert.Equal(0, await running); // what is left is sent before the end
        Assert.Equal(["/v1/metrics", "/v1/traces"], received.Keys.Order());
        Assert.Contains("longctx", received["/v1/metrics"], StringComparison.Ordinal);
        Assert.Contains("/v1/models", received["/v1/traces"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_Started_PrintsTheAddressAndStopsWhenAsked()
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        SignallingWriter block = new();
        ServerOptions options = new() { Urls = ["http://127.0.0.1:0"], Policy = "streaming", Capacity = 512, Log = LogLevel.None };
        Task<int> run = ServerProcess.RunAsync(options, (_, _) => new(new ScriptedHost()), block, errors, stop.Token);
        string text = await block.Flushed.WaitAsync(TestContext.Current.CancellationToken);

        Assert.Contains("scripted", text, StringComparison.Ordinal);
        Assert.Contains("script decoder, 7.0 M parameters, F32, S,W,G,C,B = 4,64,1,4096,16", text, StringComparison.Ordinal);
        Assert.Contains("policy  streaming, capacity 512", text, StringComparison.Ordinal);
        string url = text.Split('\n').Single(l => l.Contains("page", StringComparison.Ordinal)).Split([' '], StringSplitOptions.RemoveEmptyEntries)[1];
        using HttpClient client = new();
        string page = await client.GetStringAsync(url, TestContext.Current.CancellationToken);
        Assert.Contains("<title>LongCtx</title>", page, StringComparison.Ordinal);

        await stop.CancelAsync();
        Assert.Equal(0, await run);
        Assert.Empty(errors.ToString());
    }

    [Fact]
    public async Task Run_PortInUse_IsExitCode2AndOneLine()
    {
        using TcpListener taken = new(IPAddress.Loopback, 0);
        taken.Start();
        int port = ((IPEndPoint)taken.LocalEndpoint).Port;
        ClosingHost host = new();
        ServerOptions options = new() { Urls = [$"http://127.0.0.1:{port}"], Log = LogLevel.None };
        int code = await ServerProcess.RunAsync(options, (_, _) => new(host), output, errors, TestContext.Current.CancellationToken);

        Assert.Equal(2, code);
        Assert.Equal($"longctx: http://127.0.0.1:{port} is in use: stop what listens there, or choose another port with --urls, for instance http://127.0.0.1:8081",
            errors.ToString().Trim());
        Assert.Empty(output.ToString());
        Assert.True(host.Closed);
    }

    [Fact]
    public async Task Run_AddressOfAnotherMachine_IsExitCode2AndOneLine()
    {
        ServerOptions options = new() { Urls = ["http://192.0.2.1:8080"], AllowRemote = true, Keys = [ApiKey.New("a").Key], Log = LogLevel.None };
        Assert.Equal(2, await ServerProcess.RunAsync(options, (_, _) => new(new ScriptedHost()), output, errors, TestContext.Current.CancellationToken));
        Assert.StartsWith("longctx: cannot listen on http://192.0.2.1:8080", Assert.Single(errors.ToString().TrimEnd().Split('\n')), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("longctx: --colour is not an option; --help lists them", "--colour")]
    [InlineData("longctx: --capacity: it must be at least 1 token, not 0", "--capacity", "0")]
    public async Task Run_BadArgument_IsExitCode2AndOneLineAndNothingIsOpened(string line, params string[] arguments)
    {
        int code = await ServerProcess.RunAsync(
            arguments, (_, _) => throw new InvalidOperationException("opened"), output, errors, TestContext.Current.CancellationToken);
        Assert.Equal(2, code);
        Assert.Equal(line, errors.ToString().Trim());
    }

    [Fact]
    public async Task Run_HostCannotBeOpened_IsExitCode2WithItsReason()
    {
        OpenHost fail = (_, _) => throw new LongCtxException(ErrorCode.InvalidRequest, "no model 'x':\nput it there");
        Assert.Equal(2, await ServerProcess.RunAsync(new ServerOptions(), fail, output, errors, TestContext.Current.CancellationToken));
        Assert.Equal("longctx: no model 'x': put it there", errors.ToString().Trim());
    }

    [Fact]
    public async Task Run_Help_ListsEveryOption()
    {
        OpenHost fail = (_, _) => throw new InvalidOperationException("opened");
        Assert.Equal(0, await ServerProcess.RunAsync(["--help"], fail, output, errors, TestContext.Current.CancellationToken));
        Assert.All(ServerSettings.Names, name => Assert.Contains($"--{name} ", output.ToString(), StringComparison.Ordinal));
    }

    [Fact]
    public async Task Run_NewKey_PrintsASecretAndTheConfigurationThatAcceptsIt()
    {
        OpenHost fail = (_, _) => throw new InvalidOperationException("opened");
        Assert.Equal(0, await ServerProcess.RunAsync(["--new-key", "alice"], fail, output, errors, TestContext.Current.CancellationToken));
        string[] lines = output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        Assert.Matches("^lck_[A-Za-z0-9_-]{43}$", lines[0]);
        string directory = Directory.CreateTempSubdirectory("longctx").FullName;
        await File.WriteAllTextAsync(Path.Combine(directory, ServerSettings.FileName), $"{{{lines[^1]}}}", TestContext.Current.CancellationToken);
        ApiKey key = Assert.Single(ServerSettings.Read([], new Dictionary<string, string>(), directory).Keys);
        Directory.Delete(directory, recursive: true);
        Assert.Equal(new("alice", Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(lines[0])))), key);
    }

    [Theory]
    [InlineData("--new-key")]
    [InlineData("--new-key", "a", "--threads", "2")]
    [InlineData("--new-key", "a/b")]
    public async Task Run_NewKeyWithoutATenant_IsExitCode2(params string[] arguments)
    {
        OpenHost fail = (_, _) => throw new InvalidOperationException("opened");
        Assert.Equal(2, await ServerProcess.RunAsync(arguments, fail, output, errors, TestContext.Current.CancellationToken));
        Assert.StartsWith("longctx: ", errors.ToString(), StringComparison.Ordinal);
        Assert.Empty(output.ToString());
    }

    [Theory]
    [InlineData("evil.example", false, HttpStatusCode.MisdirectedRequest)]
    [InlineData("localhost:1234", false, HttpStatusCode.OK)]
    [InlineData("[::1]:8080", false, HttpStatusCode.OK)]
    [InlineData("evil.example", true, HttpStatusCode.OK)]
    public async Task Guard_HostOfTheRequest_MustBeThisMachineUnlessRemoteIsAllowed(string name, bool allowRemote, HttpStatusCode expected)
    {
        (string secret, ApiKey key) = ApiKey.New("a");
        ServerOptions options = new() { Urls = ["http://127.0.0.1:0"], AllowRemote = allowRemote, Keys = [key], Log = LogLevel.None };
        await using ApiServer server = await ApiServer.StartAsync(new ScriptedHost(), options: options);
        HttpRequestMessage request = new(HttpMethod.Get, "/v1/models") { Headers = { Host = name, Authorization = new("Bearer", secret) } };
        using HttpResponseMessage response = await server.Http.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.Equal(expected, response.StatusCode);
        if (expected != HttpStatusCode.OK) await response.AssertErrorAsync(421, "wrong_host");
    }

    sealed class SignallingWriter : StringWriter
    {
        readonly TaskCompletionSource<string> flushed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<string> Flushed => flushed.Task;

        public override Task FlushAsync(CancellationToken cancellationToken)
        {
            flushed.TrySetResult(ToString());
            return Task.CompletedTask;
        }
    }

    sealed class ClosingHost : ICompletionHost, IAsyncDisposable
    {
        readonly ScriptedHost inner = new();

        public bool Closed { get; private set; }

        public ValueTask<IReadOnlyList<ModelDescription>> ListModelsAsync(CancellationToken cancellation = default) => inner.ListModelsAsync(cancellation);

        public IAsyncEnumerable<CompletionEvent> CompleteAsync(string tenant, CompletionRequest request, CancellationToken cancellation = default) =>
            inner.CompleteAsync(tenant, request, cancellation);

        public ValueTask<EmbeddingResult> EmbedAsync(string tenant, EmbeddingRequest request, CancellationToken cancellation = default) =>
            inner.EmbedAsync(tenant, request, cancellation);

        public ValueTask<HostStatus> GetStatusAsync(CancellationToken cancellation = default) => inner.GetStatusAsync(cancellation);

        public ValueTask DisposeAsync()
        {
            Closed = true;
            return ValueTask.CompletedTask;
        }
    }
}
