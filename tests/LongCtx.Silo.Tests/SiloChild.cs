using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace LongCtx.Silo.Tests;

/// <summary>A silo in a process of its own, which can be killed and started again at its place.</summary>
internal sealed class SiloChild(params string[] arguments) : IAsyncDisposable
{
    readonly int _siloPort = FreePort(), _gatewayPort = FreePort();
    readonly List<string> _errors = [];
    Process? _process;

    public HttpClient Client { get; } = new(new SocketsHttpHandler { MaxConnectionsPerServer = 1000 }) { BaseAddress = new($"http://127.0.0.1:{FreePort()}"), Timeout = Timeout.InfiniteTimeSpan };

    public bool IsGateway => arguments.Contains("gateway");

    public bool IsRunning => _process is { HasExited: false };

    public string Errors
    {
        get { lock (_errors) return string.Join('\n', _errors); }
    }

    public async Task StartAsync()
    {
        string[] all =
        [
            typeof(SiloProcess).Assembly.Location, "--urls", Client.BaseAddress!.ToString(), "--silo-port", Text(_siloPort), "--gateway-port", Text(_gatewayPort), "--log", "error", .. arguments,
        ];
        _process = Process.Start(new ProcessStartInfo("dotnet", all) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Path.GetTempPath() })!;
        _process.ErrorDataReceived += (_, line) => { lock (_errors) _errors.Add(line.Data ?? ""); };
        _process.BeginErrorReadLine();
        while (await _process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
            if (line.Contains("journal", StringComparison.Ordinal))
            {
                _ = _process.StandardOutput.ReadToEndAsync(CancellationToken.None);
                return;
            }

        await _process.WaitForExitAsync(TestContext.Current.CancellationToken);
        throw new InvalidOperationException($"the silo ended with {_process.ExitCode} before it listened: {Errors}");
    }

    /// <summary>SIGKILL: nothing is flushed, closed or said.</summary>
    public async Task KillAsync()
    {
        _process!.Kill();
        await _process.WaitForExitAsync(TestContext.Current.CancellationToken);
        _process.Dispose();
        _process = null;
    }

    /// <summary>SIGTERM; the exit code.</summary>
    public async Task<int> TerminateAsync()
    {
        using (Process kill = Process.Start("kill", ["-TERM", Text(_process!.Id)])) await kill.WaitForExitAsync(TestContext.Current.CancellationToken);
        await _process.WaitForExitAsync(TestContext.Current.CancellationToken);
        int code = _process.ExitCode;
        _process.Dispose();
        _process = null;
        return code;
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        if (IsRunning) await KillAsync();
    }

    static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
