namespace LongCtx.Conversations;

/// <param name="Name">1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'; the adapter is served as "model:name".</param>
/// <param name="Path">A PEFT directory that this process can read.</param>
/// <param name="Model">The decoder that it adapts; null is the default.</param>
public sealed record LoadAdapter(string Name, string Path, string? Model = null);

/// <summary>
/// A host whose operator may bring and take static adapters while it runs. One process can; in a cluster every silo is started with its adapters.
/// </summary>
public interface IAdapterHost
{
    /// <summary>Loads an adapter; requests that run do not wait for it. It is listed among the models, with its parent.</summary>
    /// <exception cref="LongCtxException">It cannot be used, or the name is taken.</exception>
    ValueTask<ModelDescription> LoadAdapterAsync(LoadAdapter request, CancellationToken cancellation = default);

    /// <summary>No new request finds it; those that use it go on with it.</summary>
    /// <param name="id">"model:name".</param>
    /// <param name="cancellation">Not used once it has begun.</param>
    /// <exception cref="LongCtxException"><see cref="ErrorCode.NotFound"/></exception>
    ValueTask UnloadAdapterAsync(string id, CancellationToken cancellation = default);
}
