using LongCtx.Conversations.Local;

namespace LongCtx.Silo;

/// <summary>What this silo computes with; a gateway has none.</summary>
/// <param name="Models">Null without an engine.</param>
/// <param name="Conversations">The owners that live here; null without an engine.</param>
/// <param name="Home">Names the disk on which saved states lie, wherever and at whichever address it is mounted next.</param>
internal sealed record SiloEngine(ModelHost? Models, ConversationRuntime? Conversations, string Home) : IAsyncDisposable
{
    public ValueTask DisposeAsync() => Models?.DisposeAsync() ?? ValueTask.CompletedTask;
}
