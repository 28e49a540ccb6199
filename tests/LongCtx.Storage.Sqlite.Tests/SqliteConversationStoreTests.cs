using LongCtx.Conversations.Storage.Tests;

namespace LongCtx.Storage.Sqlite.Tests;

/// <summary>The contract, at every durability level.</summary>
public abstract class SqliteConversationStoreTests(Durability level) : ConversationStoreConformance, IDisposable
{
    readonly TemporaryDirectory directory = new();

    protected override async ValueTask<IConversationStore> OpenAsync() =>
        await SqliteConversationStore.OpenAsync(new() { Directory = directory.Path, Durability = level }, TestContext.Current.CancellationToken);

    public void Dispose() => directory.Dispose();
}

public sealed class RelaxedSqliteTests() : SqliteConversationStoreTests(Durability.Relaxed);

public sealed class StandardSqliteTests() : SqliteConversationStoreTests(Durability.Standard);

public sealed class StrictSqliteTests() : SqliteConversationStoreTests(Durability.Strict);
