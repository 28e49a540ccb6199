using LongCtx.Cli.Options;
using LongCtx.Conversations;
using LongCtx.Conversations.Local;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Models;
using LongCtx.Engine.Scheduling;
using LongCtx.Server;

namespace LongCtx.Cli;

/// <summary>A conversation host in this process together with the engine it stands on.</summary>
internal sealed class LocalHost : IConversationHost, IAsyncDisposable
{
    readonly InferenceEngine _engine;
    readonly LocalConversationHost _host;

    LocalHost(InferenceEngine engine, LocalConversationHost host) => (_engine, _host) = (engine, host);

    /// <summary>What the server's options ask for; without models the bundled ones. Embeddings are served in any case.</summary>
    public static async ValueTask<IConversationHost> OpenAsync(ServerOptions options, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        return await OpenAsync(
            options.Models is [] ? [Common.DefaultModel] : options.Models, new(options.Policy, options.Capacity), options.Threads, withEncoder: true);
    }

    public static async Task<LocalHost> OpenAsync(IReadOnlyList<string> models, PolicyOptions policy, int? threads, bool withEncoder = false)
    {
        var defaults = new EngineOptions();
        var engine = new InferenceEngine(defaults with { Threads = threads ?? defaults.Threads });
        try
        {
            var decoders = new List<DecoderModel>();
            var encoders = new List<EncoderModel>();
            foreach (string model in models)
            {
                if (IsEncoder(model)) encoders.Add(await ModelFiles.LoadEncoderAsync(engine, model));
                else decoders.Add(await ModelFiles.LoadDecoderAsync(engine, model));
            }

            if (withEncoder && encoders.Count == 0) encoders.Add(await ModelFiles.LoadEncoderAsync(engine, Common.DefaultEncoder));
            return new(engine, new LocalConversationHost(engine, decoders, encoders, new LocalHostOptions { Policy = policy }));
        }
        catch
        {
            await engine.DisposeAsync();
            throw;
        }
    }

    static bool IsEncoder(string model)
    {
        using ModelSource source = ModelFiles.Open(model);
        return source.Encoder is not null;
    }

    public ValueTask<IReadOnlyList<ModelDescription>> ListModelsAsync(CancellationToken cancellation = default) => _host.ListModelsAsync(cancellation);

    public IAsyncEnumerable<CompletionEvent> CompleteAsync(string tenant, CompletionRequest request, CancellationToken cancellation = default) =>
        _host.CompleteAsync(tenant, request, cancellation);

    public ValueTask<EmbeddingResult> EmbedAsync(string tenant, EmbeddingRequest request, CancellationToken cancellation = default) =>
        _host.EmbedAsync(tenant, request, cancellation);

    public ValueTask<HostStatus> GetStatusAsync(CancellationToken cancellation = default) => _host.GetStatusAsync(cancellation);

    public ValueTask DisposeAsync() => _engine.DisposeAsync();
}
