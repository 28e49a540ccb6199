using LongCtx.Api;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace LongCtx.Server;

/// <summary>The one composition for local work: the web server over a host.</summary>
public static class ServerHost
{
    /// <summary>
    /// The web application over a given host, not started; the caller keeps the host. Nothing is read from the environment here: what
    /// <paramref name="options"/> say is what happens.
    /// </summary>
    /// <exception cref="LongCtxException">An option cannot be honoured.</exception>
    public static WebApplication Build(ServerOptions options, ICompletionHost host, Action<ApiOptions>? configureApi = null) => Build(options, builder =>
    {
        builder.Services.AddSingleton(host);
        if (host is IConversationHost conversations) builder.Services.AddSingleton(conversations);
    }, configureApi);

    /// <summary>The same over the host that <paramref name="addHost"/> registers.</summary>
    /// <exception cref="LongCtxException">An option cannot be honoured.</exception>
    public static WebApplication Build(ServerOptions options, Action<WebApplicationBuilder> addHost, Action<ApiOptions>? configureApi = null)
    {
        options.Validate();
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "LongCtx.Server" });
        builder.WebHost.UseKestrelCore().UseUrls([.. options.Urls]).ConfigureKestrel(kestrel => kestrel.AddServerHeader = false);
        AddLogging(builder.Logging, options.Log);
        addHost(builder);
        builder.Services.AddLongCtxApi(api =>
        {
            api.MaxBodyBytes = options.MaxBodyMebibytes << 20;
            api.Keys = options.Keys;
            configureApi?.Invoke(api);
        });
        // Replies end by themselves after the grace; the web server waits a little longer, so that they can still say so.
        builder.Services.AddOptions<HostOptions>().Configure<ApiOptions>((o, api) => o.ShutdownTimeout = api.ShutdownGrace + TimeSpan.FromSeconds(5));

        WebApplication app = builder.Build();
        if (!options.AllowRemote) app.UseLoopbackGuard();
        app.UseRouting();
        app.MapLongCtxApi();
        return app;
    }

    // Standard output belongs to the start block alone.
    static void AddLogging(ILoggingBuilder logging, LogLevel level)
    {
        logging.SetMinimumLevel(level);
        if (level is LogLevel.Information) logging.AddFilter("Microsoft", LogLevel.Warning).AddFilter("Orleans", LogLevel.Warning);
        // Kestrel logs a failed bind with its stack; the process says it in one line.
        logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.None);
        logging.AddSimpleConsole(o => o.SingleLine = true);
        logging.Services.Configure<ConsoleLoggerOptions>(o => o.LogToStandardErrorThreshold = LogLevel.Trace);
    }
}
