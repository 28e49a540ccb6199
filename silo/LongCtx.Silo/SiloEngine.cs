using LongCtx.Conversations.Local;
using Microsoft.Extensions.Hosting;

namespace LongCtx.Silo;

/// <summary>
/// What this silo computes with: the engine has threads of its own, and is there before the silo joins the cluster and until after it has left. A gateway has
/// none.
/// </summary>
/// <param name="home">Names the disk on which saved states lie, wherever and at whichever address it is mounted next.</param>
/// <param name="openModels">Opens the engine; null for a gateway.</param>
/// <param name="conversations">How this silo's conversations are kept.</param>
internal sealed class SiloEngine(string home, Func<Task<ModelHost>>? openModels, ConversationOptions? conversations) : IHostedService, IAsyncDisposable
{
    public static SiloEngine Gateway { get; } = new("", null, null);

    public string Home => home;

    /// <summary>Null without an engine.</summary>
    public ModelHost? Models { get; private set; }

    /// <summary>The owners that live here; null without an engine.</summary>
    public ConversationRuntime? Conversations { get; private set; }

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (openModels is null) return;
        Models = await openModels();
        Conversations = new(Models, conversations!);
    }

    public Task StopAsync(CancellationToken cancellationToken) => DisposeAsync().AsTask();

    /// <summary>May be called again.</summary>
    public ValueTask DisposeAsync() => Models?.DisposeAsync() ?? ValueTask.CompletedTask;
}
