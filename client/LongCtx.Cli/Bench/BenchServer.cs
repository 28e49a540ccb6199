using System.Diagnostics;
using LongCtx.Cli.Commands;

namespace LongCtx.Cli.Bench;

/// <summary>`longctx serve` as a process of its own, so that its memory is not mixed with the clients'. Ends with this object.</summary>
internal sealed class BenchServer : IDisposable
{
    readonly Process _process;

    BenchServer(Process process, Uri address) => (_process, Address) = (process, address);

    public Uri Address { get; }

    public double ResidentMegabytes
    {
        get
        {
            _process.Refresh();
            return Math.Round(_process.WorkingSet64 / (double)(1 << 20), 1);
        }
    }

    /// <summary>On a free port of this machine.</summary>
    public static async Task<BenchServer> StartAsync(string model, int threads, string directory, CancellationToken cancellation)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "longctx");
        bool isMuxer = Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet";
        var start = new ProcessStartInfo(isMuxer ? Environment.ProcessPath! : program) { RedirectStandardOutput = true, UseShellExecute = false };
        foreach (string argument in (string[])
            [.. isMuxer ? [program + ".dll"] : Array.Empty<string>(), ServeCommand.Name, "--urls", "http://127.0.0.1:0", "--model", model, "--threads", Text.Of(threads), "--data", directory, "--log", "error"])
            start.ArgumentList.Add(argument);
        Process process = Process.Start(start)!;
        try
        {
            while (await process.StandardOutput.ReadLineAsync(cancellation) is { } line)
            {
                string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (words is not ["page", var address, ..]) continue;
                _ = process.StandardOutput.ReadToEndAsync(CancellationToken.None); // a full pipe would stop it
                return new(process, new(address));
            }

            throw new CheckFailedException("the server did not start; what it says stands above");
        }
        catch
        {
            End(process);
            throw;
        }
    }

    public void Dispose() => End(_process);

    static void End(Process process)
    {
        process.Kill();
        process.WaitForExit();
        process.Dispose();
    }
}
