using LongCtx.Conversations.Local;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Tests;

namespace LongCtx.Conversations.Tests;

/// <summary>One engine with the bundled models for all tests, which run one after another; each has a host, and with it a prompt cache, of its own.</summary>
public sealed class EngineFixture : IAsyncLifetime
{
    internal InferenceEngine Engine { get; } = new(new EngineOptions { Threads = 2, KvMemoryBytes = 512L << 20 });

    /// <summary>Trained on 512 positions: a chat outgrows it within a few turns.</summary>
    internal DecoderModel Small { get; private set; } = null!;

    internal DecoderModel Chat { get; private set; } = null!;

    internal EncoderModel Encoder { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Small = await Engine.LoadDecoderAsync(Repository.Pg19, "small");
        Chat = await Engine.LoadDecoderAsync(Repository.SmolLM2, "chat");
        Encoder = await Engine.LoadEncoderAsync(Repository.MiniLM, "encoder");
    }

    public ValueTask DisposeAsync() => Engine.DisposeAsync();

    internal LocalConversationHost Host(PolicyOptions? policy = null) =>
        new(Engine, [Small, Chat], [Encoder], new() { Policy = policy ?? new() });
}

[CollectionDefinition(Name)]
public sealed class EngineTests : ICollectionFixture<EngineFixture>
{
    public const string Name = "engine";
}
