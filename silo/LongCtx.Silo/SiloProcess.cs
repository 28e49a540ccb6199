using LongCtx.Conversations.Local;
using LongCtx.Conversations.Storage;
using LongCtx.Server;
using LongCtx.Storage.Redis;
using LongCtx.Storage.Sqlite;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace LongCtx.Silo;

/// <summary>A silo from its options to its end.</summary>
internal static class SiloProcess
{
    const string Help = """
        LongCtx silo: conversations as Orleans grains. Alone it is a cluster of one with SQLite; with --redis it is one of many.

          --redis HOST:PORT   membership, journal and subscriptions; silos with the same Redis and --cluster find each other
          --role ROLE         engine (computes; default) or gateway (serves HTTP only)
          --cluster NAME      several clusters may share a Redis (longctx)
          --host ADDRESS      where other silos reach this one (127.0.0.1)
          --silo-port N       between silos (11111)
          --gateway-port N    for Orleans clients; never open it to the public (30000)
          --streams KIND      memory (default), or redis: the cluster's streams outlive their silos, and events take about 0.1 s more
          --drain-seconds N   a silo that is stopped moves its conversations within this time (10)
          --probe-seconds N   a silo that is silent three times as long is declared dead (10)
          --sweep-seconds N   between two looks for live turns that nobody owns (10)

        and all options of the server: LongCtx.Server --help. Each silo on one machine needs --urls, --silo-port, --gateway-port and --data of its own.
        """;

    public static async Task<int> RunAsync(IReadOnlyList<string> arguments, TextWriter output, TextWriter errors, CancellationToken cancellation)
    {
        if (arguments.Contains("--help"))
        {
            await output.WriteLineAsync(Help);
            return 0;
        }

        try
        {
            if (ServerProcess.NewKey(arguments) is { } made)
            {
                await output.WriteLineAsync(made);
                return 0;
            }

            SiloOptions options = SiloOptions.Read(arguments, ServerProcess.EnvironmentVariables(), Environment.CurrentDirectory);
            await RunAsync(options, output, cancellation);
            return 0;
        }
        catch (LongCtxException e)
        {
            await errors.WriteLineAsync("longctx: " + e.Message.ReplaceLineEndings(" "));
            return 2;
        }
    }

    static async Task RunAsync(SiloOptions options, TextWriter output, CancellationToken cancellation)
    {
        using TelemetryExport? telemetry = TelemetryExport.Start(options.Server.Otlp);
        IConversationStore store = await OpenStoreAsync(options, cancellation);
        await using (store)
        {
            await using SiloEngine engine = await EngineAsync(options, store);
            await using WebApplication app = ServerHost.Build(options.Server, builder =>
            {
                builder.Services.AddHostedService(_ => engine); // services start in this order and stop in the reverse one
                builder.Host.UseOrleans(silo => silo.AddLongCtxClustering(options).AddLongCtx(options, engine, store));
            });
            app.MapLongCtxDashboard(options.Server.Keys);
            await ServerProcess.StartAsync(app, options.Server, cancellation);
            await output.WriteLineAsync($"LongCtx silo {options.Host}:{options.SiloPort} of cluster {options.Cluster}");
            await output.WriteLineAsync($"  page    {string.Join(", ", app.Urls)}");
            await output.WriteLineAsync($"  journal {store.Description.Name}, {store.Description.Holds.ToString().ToLowerInvariant()}");
            await output.FlushAsync(cancellation);
            await app.WaitForShutdownAsync(cancellation);
        }
    }

    static async ValueTask<IConversationStore> OpenStoreAsync(SiloOptions options, CancellationToken cancellation)
    {
        try
        {
            IConversationStore store = options.Redis is { } redis
                ? await RedisConversationStore.OpenAsync(new() { Configuration = redis, Durability = options.Server.Durability, Prefix = "lc:" + options.Cluster }, cancellation)
                : await SqliteConversationStore.OpenAsync(new() { Directory = Data(options), Durability = options.Server.Durability }, cancellation);
            foreach (string warning in store.Description.Warnings) Warn(warning);
            return store;
        }
        catch (StoreException e)
        {
            throw new LongCtxException(ErrorCode.InvalidRequest, e.Message, options.Redis is null ? "data" : "redis", e);
        }
    }

    static async ValueTask<SiloEngine> EngineAsync(SiloOptions options, IConversationStore store)
    {
        if (options.IsGateway) return SiloEngine.Gateway;
        var conversations = new ConversationOptions { Store = store, KvDirectory = Path.Combine(Data(options), "kv"), RetainEvents = options.Server.RetainEvents, Warn = Warn };
        return new(await HomeAsync(Data(options)), () => LocalHost.OpenModelsAsync(options.Server), conversations);
    }

    /// <summary>An id that lies beside the saved states and moves with them.</summary>
    static async Task<string> HomeAsync(string directory)
    {
        string path = Path.Combine(directory, "home");
        Directory.CreateDirectory(directory);
        if (!File.Exists(path)) await File.WriteAllTextAsync(path, Guid.NewGuid().ToString());
        return (await File.ReadAllTextAsync(path)).Trim();
    }

    static string Data(SiloOptions options) => options.Server.Data ?? ServerOptions.DefaultData;

    static void Warn(string message) => Console.Error.WriteLine("longctx: " + message);
}
