using LongCtx.Conversations.Local;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Tests;

namespace LongCtx.Conversations.Tests;

/// <summary>A local host with an engine of its own, as a process has them, over a store that outlives it.</summary>
internal sealed class DurableHost(LocalConversationHost host, DecoderModel model) : HostDriver(host, DurableHost.TenantName, model.StopTokens)
{
    public const string TenantName = "a";

    public static async Task<DurableHost> OpenAsync(IConversationStore store, string? directory = null, Func<ConversationOptions, ConversationOptions>? change = null, int threads = 1, double trainingShare = 1)
    {
        var engine = new InferenceEngine(new EngineOptions { Threads = threads, KvMemoryBytes = 64L << 20, TrainingShare = trainingShare });
        DecoderModel model = await engine.LoadDecoderAsync(Repository.Pg19, "small");
        var options = new ConversationOptions { Store = store, KvDirectory = directory, SaveInterval = TimeSpan.Zero, Warn = message => Console.Error.WriteLine(message) };
        var host = new LocalConversationHost(engine, [model], [], new() { Policy = new PolicyOptions("endless", 256) }, change?.Invoke(options) ?? options);
        await host.ResumeAsync();
        return new(host, model);
    }

    public LocalConversationHost Local => host;

    public override ValueTask DisposeAsync() => host.DisposeAsync();
}
