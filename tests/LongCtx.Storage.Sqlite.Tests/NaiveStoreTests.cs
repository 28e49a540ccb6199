using LongCtx.Conversations.Storage.Tests;

namespace LongCtx.Storage.Sqlite.Tests;

/// <summary>The twin keeps the contract itself.</summary>
public sealed class NaiveStoreTests : ConversationStoreConformance
{
    readonly NaiveStore store = new();

    protected override ValueTask<IConversationStore> OpenAsync() => new(store);
}
