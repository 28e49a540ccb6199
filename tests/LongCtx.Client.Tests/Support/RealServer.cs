using LongCtx.Api;
using LongCtx.Conversations.Local;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Tests;
using LongCtx.Server;
using LongCtx.Storage.Sqlite;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Logging;

namespace LongCtx.Client.Tests;

/// <summary>A whole server over the small model and a data directory, which can be stopped and started again there.</summary>
public sealed partial class RealServer : IAsyncLifetime
{
    readonly string directory = Directory.CreateTempSubdirectory("longctx-client").FullName;
    DecoderModel? model;
    LocalConversationHost? host;
    WebApplication? app;

    public Uri Address { get; private set; } = new("http://127.0.0.1:0");

    public IReadOnlyList<ApiKey> Keys { get; init; } = [];

    /// <summary>What is served instead of the host itself.</summary>
    public Func<IConversationHost, IConversationHost> Around { get; init; } = host => host;

    /// <summary>With which the model ends a reply.</summary>
    public IEnumerable<int> StopTokens => model!.StopTokens;

    public async ValueTask InitializeAsync() => await StartAsync();

    public async Task StartAsync()
    {
        InferenceEngine engine = new(new EngineOptions { Threads = 1, KvMemoryBytes = 64L << 20 });
        model = await engine.LoadDecoderAsync(Repository.Pg19, "small");
        SqliteConversationStore store = await SqliteConversationStore.OpenAsync(new() { Directory = directory });
        host = new(engine, [model], [], new() { Policy = new PolicyOptions("endless", 256) }, new() { Store = store, SaveInterval = TimeSpan.Zero });
        await host.ResumeAsync();
        ServerOptions options = new() { Urls = [Address.ToString().TrimEnd('/')], Log = LogLevel.None, Keys = Keys };
        app = ServerHost.Build(options, Around(host), api => (api.ShutdownGrace, api.Heartbeat) = (TimeSpan.Zero, TimeSpan.FromMilliseconds(100)));
        await app.StartAsync();
        Address = new(app.Urls.Single());
    }

    public async Task StopAsync()
    {
        if (app is not null)
        {
            await app.StopAsync(); // as the process does: requests under way end first
            await app.DisposeAsync();
        }
        if (host is not null) await host.DisposeAsync();
        (app, host) = (null, null);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        Directory.Delete(directory, recursive: true);
    }
}
