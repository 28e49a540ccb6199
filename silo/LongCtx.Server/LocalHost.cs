using LongCtx.Conversations.Local;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Templates;
using LongCtx.Engine.Tokenization;
using LongCtx.Storage.Sqlite;

namespace LongCtx.Server;

/// <summary>Opens a conversation host in this process together with the engine it stands on: the one composition for local work.</summary>
public static class LocalHost
{
    public const string DefaultModel = "smollm2-135m-instruct";
    public const string DefaultEncoder = "all-minilm-l6-v2";

    /// <summary>What the server's options ask for; without models the bundled default. Embeddings are served in any case.</summary>
    /// <exception cref="LongCtxException">A model cannot be used, or an option cannot be honoured.</exception>
    public static async ValueTask<ICompletionHost> OpenAsync(ServerOptions options, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        ConversationOptions? conversations = options.Data == ServerOptions.NoData ? null : await OpenStoreAsync(options, cancellation);
        LocalConversationHost host = await OpenAsync(ModelsOf(options), HostOptions(options), options.Threads, withEncoder: true, conversations, options.Adapters);
        if (conversations is not null) await host.ResumeAsync(cancellation);
        return host;
    }

    static async ValueTask<ConversationOptions> OpenStoreAsync(ServerOptions options, CancellationToken cancellation)
    {
        string directory = options.Data ?? ServerOptions.DefaultData;
        try
        {
            var store = await SqliteConversationStore.OpenAsync(new() { Directory = directory, Durability = options.Durability }, cancellation);
            foreach (string warning in store.Description.Warnings) Warn(warning);
            return new() { Store = store, KvDirectory = Path.Combine(directory, "kv"), RetainEvents = options.RetainEvents, Warn = Warn };
        }
        catch (StoreException e)
        {
            throw new LongCtxException(ErrorCode.InvalidRequest, $"{e.Message} (--data {directory}; --data none keeps no conversations)", "data", e);
        }
    }

    /// <summary>The models that a server's options ask for.</summary>
    /// <exception cref="LongCtxException">A model cannot be used, or an option cannot be honoured.</exception>
    public static Task<ModelHost> OpenModelsAsync(ServerOptions options) => OpenModelsAsync(ModelsOf(options), HostOptions(options), options.Threads, withEncoder: true, options.Adapters);

    static IReadOnlyList<string> ModelsOf(ServerOptions options) => options.Models is [] ? [DefaultModel] : options.Models;

    static LocalHostOptions HostOptions(ServerOptions options)
    {
        var defaults = new LocalHostOptions { Policy = new(options.Policy, options.Capacity) };
        return defaults with
        {
            ReplyTokensMax = options.MaxReply ?? defaults.ReplyTokensMax,
            TrainingShare = options.TrainingShare / 100.0 ?? defaults.TrainingShare,
            TrainingSlice = options.TrainingSlice is { } slice ? TimeSpan.FromMilliseconds(slice) : defaults.TrainingSlice,
        };
    }

    /// <summary>NAME=DIR or MODEL:NAME=DIR.</summary>
    static LoadAdapter AdapterOf(string option)
    {
        int at = option.IndexOf('=', StringComparison.Ordinal), colon = option.LastIndexOf(':', at);
        return new(option[(colon + 1)..at], option[(at + 1)..], colon < 0 ? null : option[..colon]);
    }

    static void Warn(string message) => Console.Error.WriteLine("longctx: " + message);

    /// <param name="models">Names of bundled models, or paths; the first decoder is the default.</param>
    /// <param name="options">What every conversation gets.</param>
    /// <param name="threads">Compute threads; null is one per core.</param>
    /// <param name="withEncoder">Load the bundled encoder unless <paramref name="models"/> name one.</param>
    /// <param name="conversations">How conversations are kept; null keeps none. The store is closed if opening fails.</param>
    /// <param name="adapters">As <see cref="ServerOptions.Adapters"/>; null for none.</param>
    public static async Task<LocalConversationHost> OpenAsync(
        IReadOnlyList<string> models, LocalHostOptions options, int? threads, bool withEncoder = false, ConversationOptions? conversations = null,
        IReadOnlyList<string>? adapters = null)
    {
        try
        {
            return new(await OpenModelsAsync(models, options, threads, withEncoder, adapters), conversations);
        }
        catch
        {
            if (conversations is not null) await conversations.Store.DisposeAsync();
            throw;
        }
    }

    /// <summary>The models alone; the parameters are the same.</summary>
    public static async Task<ModelHost> OpenModelsAsync(IReadOnlyList<string> models, LocalHostOptions options, int? threads, bool withEncoder, IReadOnlyList<string>? adapters = null)
    {
        var defaults = new EngineOptions();
        var engine = new InferenceEngine(defaults with { Threads = threads ?? defaults.Threads, TrainingShare = options.TrainingShare, TrainingSlice = options.TrainingSlice });
        try
        {
            var catalog = ModelCatalog.Default();
            var decoders = new List<DecoderModel>();
            var encoders = new List<EncoderModel>();
            foreach (string model in models)
            {
                string path = catalog.Resolve(model);
                ModelSource source = ModelSource.Open(path);
                if (source.Encoder is not null) encoders.Add(await engine.LoadEncoderAsync(source, catalog.NameOf(path)));
                else decoders.Add(await engine.LoadDecoderAsync(source, catalog.NameOf(path)));
            }

            if (withEncoder && encoders.Count == 0) encoders.Add(await engine.LoadEncoderAsync(catalog.Resolve(DefaultEncoder), DefaultEncoder));
            var host = new ModelHost(engine, decoders, encoders, options);
            foreach (string adapter in adapters ?? []) await host.LoadAdapterAsync(AdapterOf(adapter));
            return host;
        }
        catch (Exception e)
        {
            await engine.DisposeAsync();
            if (e is ModelFileException or TokenizerException or ChatTemplateException)
                throw new LongCtxException(ErrorCode.InvalidRequest, "the model cannot be used: " + e.Message, "model", e);
            throw;
        }
    }
}
