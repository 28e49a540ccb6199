using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace LongCtx.Stores.Bench;

/// <summary>A redis-server on a free port and in a directory of its own; ends with this object.</summary>
internal sealed class RedisServer : IDisposable
{
    readonly Process process;

    RedisServer(Process process, string address) => (this.process, Address) = (process, address);

    public string Address { get; }

    /// <param name="directory">Of its files; must be there.</param>
    /// <param name="fsync">Its appendfsync: everysec or always.</param>
    /// <param name="cancellation">Ends the waiting for its start.</param>
    public static async Task<RedisServer> StartAsync(string directory, string fsync, CancellationToken cancellation)
    {
        string port = FreePort().ToString(CultureInfo.InvariantCulture);
        string[] arguments = ["--port", port, "--bind", "127.0.0.1", "--dir", directory, "--save", "", "--daemonize", "no", "--appendonly", "yes", "--appendfsync", fsync];
        Process server;
        try
        {
            server = Process.Start(new ProcessStartInfo("redis-server", arguments) { RedirectStandardOutput = true, UseShellExecute = false })!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new InvalidOperationException($"redis-server cannot be started ({e.Message}): install it (Debian: apt-get install redis-server), or give --redis HOST:PORT", e);
        }

        var started = new RedisServer(server, $"127.0.0.1:{port}");
        try
        {
            var said = new List<string>();
            while (await server.StandardOutput.ReadLineAsync(cancellation) is { } line)
            {
                said.Add(line);
                if (!line.Contains("Ready to accept connections", StringComparison.Ordinal)) continue;
                _ = server.StandardOutput.ReadToEndAsync(CancellationToken.None); // a full pipe would stop it
                return started;
            }

            throw new InvalidOperationException($"redis-server did not start on port {port}: {string.Join(' ', said)}");
        }
        catch
        {
            started.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        process.Kill();
        process.WaitForExit();
        process.Dispose();
    }

    static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
