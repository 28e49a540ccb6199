using System.Net.Sockets;
using System.Reflection;
using LongCtx.Api;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Hosting;

namespace LongCtx.Server;

/// <summary>Opens the host that the options ask for; it is disposed with the server.</summary>
public delegate ValueTask<ICompletionHost> OpenHost(ServerOptions options, CancellationToken cancellation);

/// <summary>A server process from its arguments to its exit code: 0 stopped as asked, 2 could not start, with one line that says why.</summary>
public static class ServerProcess
{
    const string Help = """
        LongCtx server: OpenAI's API and a chat page over local models.

          --urls URL          where to listen; several separated by ';' (http://127.0.0.1:8080)
          --model NAME|PATH   a bundled model, a GGUF file or a Hugging Face directory; may be repeated
          --adapter NAME=DIR  a PEFT directory to serve as MODEL:NAME, for the first model or, as MODEL:NAME=DIR, for another; may be repeated
          --policy NAME       full, window, streaming, selfextend or endless (endless)
          --capacity TOKENS   most keys a token may see
          --threads N         compute threads (one per core)
          --data DIR          where conversations are kept (~/.local/share/longctx); none keeps none
          --durability LEVEL  what an acknowledged write survives: relaxed (this process's death), standard (the same, and power loss but for
                              the last second), strict (power loss) (standard)
          --retain-events N   events of a conversation that are kept at least (0: all). Older ones go at turn ends, but for those in the window
          --max-reply TOKENS  where a reply ends that was asked for without a limit (4096)
          --training-share N  percent of the time that one tenant's conversations may learn, 0: none learns (100)
          --training-slice MS by so much learning may delay everybody's next token (10)
          --keys JSON         API keys as [{"tenant": "alice", "sha256": "...", "name": "laptop", "max_conversations": 1000, "max_live_turns": 8}];
                              better kept in longctx.json. The last three are optional. Without keys only this machine may connect
          --new-key TENANT    makes a key, prints it and what to configure for it, and ends
          --allow-remote      listen where other machines can connect; needs keys
          --max-body-mib N    largest request body, 1 to 1023 (32)
          --otlp URL          an OpenTelemetry collector for metrics and traces, for instance http://127.0.0.1:4318
          --log LEVEL         trace, debug, information, warning, error or none, to standard error (information)

        Also read: longctx.json in the current directory, for instance {"model": ["smollm2-135m-instruct"], "capacity": 4096}, and the
        environment (LONGCTX_MODEL, LONGCTX_CAPACITY, ...). The command line wins, then the environment.
        """;

    public static async Task<int> RunAsync(
        IReadOnlyList<string> arguments, OpenHost open, TextWriter output, TextWriter errors, CancellationToken cancellation = default)
    {
        if (arguments.Contains("--help"))
        {
            await output.WriteLineAsync(Help);
            return 0;
        }
        try
        {
            if (NewKey(arguments) is { } made)
            {
                await output.WriteLineAsync(made);
                return 0;
            }

            ServerOptions options = ServerSettings.Read(arguments, EnvironmentVariables(), Environment.CurrentDirectory);
            return await RunAsync(options, open, output, errors, cancellation);
        }
        catch (LongCtxException e)
        {
            await errors.WriteLineAsync(OneLine(e.Message));
            return 2;
        }
    }

    /// <summary>Runs until cancelled, or until the process is asked to stop.</summary>
    public static async Task<int> RunAsync(
        ServerOptions options, OpenHost open, TextWriter output, TextWriter errors, CancellationToken cancellation = default)
    {
        try
        {
            options.Validate();
            using TelemetryExport? telemetry = TelemetryExport.Start(options.Otlp);
            ICompletionHost host = await open(options, cancellation);
            await using IAsyncDisposable? owned = host as IAsyncDisposable;
            await using WebApplication app = ServerHost.Build(options, host);
            await StartAsync(app, options, cancellation);
            await output.WriteAsync(await StartBlock.WriteAsync(app.Urls, options, host, Version, cancellation));
            await output.FlushAsync(cancellation);
            await app.WaitForShutdownAsync(cancellation);
            return 0;
        }
        catch (LongCtxException e)
        {
            await errors.WriteLineAsync(OneLine(e.Message));
            return 2;
        }
    }

    /// <summary>A new key and what to do with it, when the arguments ask for one; otherwise null.</summary>
    internal static string? NewKey(IReadOnlyList<string> arguments)
    {
        if (!arguments.Any(a => a.StartsWith("--new-key", StringComparison.Ordinal))) return null;
        if (arguments is not ["--new-key", var tenant]) throw new LongCtxException(ErrorCode.InvalidRequest, "--new-key takes a tenant and stands alone: --new-key alice");
        (string secret, ApiKey key) = ApiKey.New(tenant);
        return $$"""
            {{secret}}

            This is the only time the key is shown: give it to its user. The server keeps its hash; add to longctx.json:
              "keys": [{"tenant": "{{key.Tenant}}", "sha256": "{{key.Sha256}}"}]
            """;
    }

    internal static string Version => typeof(ServerProcess).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+')[0];

    /// <exception cref="LongCtxException">It cannot listen there.</exception>
    internal static async Task StartAsync(WebApplication app, ServerOptions options, CancellationToken cancellation)
    {
        string urls = string.Join(", ", options.Urls);
        try
        {
            await app.StartAsync(cancellation);
        }
        catch (IOException e) when (e.InnerException is AddressInUseException)
        {
            throw Cannot($"{urls} is in use: stop what listens there, or choose another port with --urls, for instance http://127.0.0.1:8081", e);
        }
        catch (Exception e) when (e is IOException or SocketException or InvalidOperationException)
        {
            throw Cannot($"cannot listen on {urls}: {e.Message} Choose another address with --urls.", e);
        }
    }

    static LongCtxException Cannot(string message, Exception inner) => new(ErrorCode.InvalidRequest, message, "urls", inner);

    internal static Dictionary<string, string> EnvironmentVariables()
    {
        System.Collections.IDictionary all = Environment.GetEnvironmentVariables();
        return all.Keys.Cast<string>().ToDictionary(key => key, key => (string?)all[key] ?? "", StringComparer.Ordinal);
    }

    static string OneLine(string message) => "longctx: " + message.ReplaceLineEndings(" ");
}
