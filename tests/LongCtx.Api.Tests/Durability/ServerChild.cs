using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using LongCtx.Server;

namespace LongCtx.Api.Tests;

/// <summary>A server in a process of its own, which can be killed.</summary>
internal sealed class ServerChild : IAsyncDisposable
{
    readonly Process _process;

    ServerChild(Process process, Uri address)
    {
        _process = process;
        Client = new(new SocketsHttpHandler { MaxConnectionsPerServer = 1000 }) { BaseAddress = address, Timeout = Timeout.InfiniteTimeSpan };
    }

    public HttpClient Client { get; }

    public int Id => _process.Id;

    public static async Task<ServerChild> StartAsync(params string[] arguments)
    {
        var address = new Uri($"http://127.0.0.1:{FreePort()}");
        var start = new ProcessStartInfo("dotnet", [typeof(ServerProcess).Assembly.Location, "--urls", address.ToString(), .. arguments])
        {
            UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Path.GetTempPath(),
        };
        Process process = Process.Start(start)!;
        var errors = new List<string>();
        process.ErrorDataReceived += (_, line) => { lock (errors) errors.Add(line.Data ?? ""); };
        process.BeginErrorReadLine();
        while (await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
            if (line.Contains("Ctrl+C", StringComparison.Ordinal)) return new(process, address);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        throw new InvalidOperationException($"the server ended with {process.ExitCode} before it listened: {string.Join('\n', errors)}");
    }

    /// <summary>SIGKILL: nothing is flushed, closed or said.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>SIGTERM. Returns the exit code and how long it took.</summary>
    public async Task<(int ExitCode, TimeSpan Took)> TerminateAsync()
    {
        long start = Stopwatch.GetTimestamp();
        using (Process kill = Process.Start("kill", ["-TERM", _process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)])) await kill.WaitForExitAsync(TestContext.Current.CancellationToken);
        await _process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (_process.ExitCode, Stopwatch.GetElapsedTime(start));
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        if (!_process.HasExited) await KillAsync();
        _process.Dispose();
    }

    static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
