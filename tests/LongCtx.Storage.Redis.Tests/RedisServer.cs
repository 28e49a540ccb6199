using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>A redis-server of this test, on a free port and in a directory of its own. Killed and removed when it is disposed of.</summary>
public sealed partial class RedisServer : IAsyncDisposable
{
    const int Stop = 19, Continue = 18; // SIGSTOP and SIGCONT on Linux

    readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("longctx-redis-");
    readonly DirectoryInfo saved = Directory.CreateTempSubdirectory("longctx-redis-");
    readonly string[] settings;
    Process? process;

    RedisServer(string[] settings) => this.settings = settings;

    public int Port { get; private set; }

    public string Configuration => $"127.0.0.1:{Port}";

    /// <summary>An append-only file that is synced before every reply, unless settings say otherwise.</summary>
    public static async Task<RedisServer> StartAsync(params string[] settings)
    {
        Assert.SkipUnless(IsInstalled, "redis-server is not installed (Debian: apt-get install redis-server): nothing of the Redis store is tested here.");
        var server = new RedisServer(settings);
        await server.StartAgainAsync();
        return server;
    }

    static bool IsInstalled { get; } =
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(folder => File.Exists(Path.Combine(folder, "redis-server")));

    /// <summary>Starts on the same port and directory as before.</summary>
    public async Task StartAgainAsync()
    {
        for (int attempt = 1; ; attempt++)
        {
            int port = Port > 0 ? Port : FreePort();
            string output = await TryStartAsync(port);
            if (output.Length == 0)
            {
                Port = port;
                return;
            }
            if (Port > 0 || attempt == 5) throw new InvalidOperationException($"redis-server did not start on port {port}: {output}");
        }
    }

    /// <summary>Empty once it accepts connections, otherwise what it said before it ended.</summary>
    async Task<string> TryStartAsync(int port)
    {
        string[] arguments =
        [
            "--port", port.ToString(CultureInfo.InvariantCulture), "--bind", "127.0.0.1", "--dir", directory.FullName, "--save", "", "--daemonize", "no",
            "--appendonly", "yes", "--appendfsync", "always", .. settings,
        ];
        process = Process.Start(new ProcessStartInfo("redis-server", arguments) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false })!;
        List<string> lines = [];
        while (await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
        {
            lines.Add(line);
            if (!line.Contains("Ready to accept connections", StringComparison.Ordinal)) continue;
            _ = process.StandardOutput.ReadToEndAsync(CancellationToken.None); // a full pipe would stop it
            return "";
        }
        return string.Join('\n', lines);
    }

    static int FreePort()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>SIGKILL: nothing is flushed that has not been.</summary>
    public async Task KillAsync()
    {
        process!.Kill();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>Of a killed server: it will start empty.</summary>
    public void RemoveFiles()
    {
        directory.Delete(recursive: true);
        directory.Create();
    }

    /// <summary>Remembers what is on the disk now, for <see cref="RestoreFiles"/>.</summary>
    public void SaveFiles() => Copy(directory.FullName, saved.FullName);

    public void RestoreFiles()
    {
        RemoveFiles();
        Copy(saved.FullName, directory.FullName);
    }

    static void Copy(string from, string to)
    {
        foreach (string file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
    }

    /// <summary>Freezes it, its connections stay open.</summary>
    public void Pause() => Signal(Stop);

    public void Resume() => Signal(Continue);

    void Signal(int signal) => Assert.Equal(0, Kill(process!.Id, signal));

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);

    /// <summary>What Redis' own shell says, which is none of our code.</summary>
    public async Task<string> ShellAsync(params string[] command)
    {
        using var shell = Process.Start(new ProcessStartInfo("redis-cli", ["-p", Port.ToString(CultureInfo.InvariantCulture), .. command]) { RedirectStandardOutput = true, UseShellExecute = false })!;
        string output = await shell.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await shell.WaitForExitAsync(TestContext.Current.CancellationToken);
        return output.TrimEnd('\n');
    }

    /// <summary>Names of its keys, in order.</summary>
    public async Task<string[]> KeysAsync() =>
        [.. (await ShellAsync("KEYS", "*")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal)];

    public Task<RedisConversationStore> OpenAsync(Func<RedisStoreOptions, RedisStoreOptions>? change = null)
    {
        RedisStoreOptions options = new() { Configuration = Configuration, Durability = Durability.Relaxed };
        return RedisConversationStore.OpenAsync(change?.Invoke(options) ?? options, TestContext.Current.CancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        if (process is { HasExited: false })
        {
            process.Kill();
            await process.WaitForExitAsync();
        }
        process?.Dispose();
        directory.Delete(recursive: true);
        saved.Delete(recursive: true);
    }
}
