using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Storage.Tests;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>One server for all of it; each test has a prefix of its own.</summary>
public sealed class ConformanceTests(ConformanceTests.SharedServer shared) : ConversationStoreConformance, IClassFixture<ConformanceTests.SharedServer>
{
    readonly string prefix = Guid.NewGuid().ToString("N");

    protected override async ValueTask<IConversationStore> OpenAsync() => await (await shared.StartedAsync()).OpenAsync(o => o with { Prefix = prefix });

    /// <summary>Started by the first test, because only a test can be skipped.</summary>
    public sealed class SharedServer : IAsyncDisposable
    {
        RedisServer? server;

        public async Task<RedisServer> StartedAsync() => server ??= await RedisServer.StartAsync("--appendfsync", "everysec");

        public ValueTask DisposeAsync() => server?.DisposeAsync() ?? default;
    }
}
