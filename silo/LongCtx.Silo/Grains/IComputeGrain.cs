
namespace LongCtx.Silo.Grains;

/// <summary>
/// What is computed and not stored, on the silo that the key leads to: the same first messages of a tenant go to the same silo, where their keys are cached.
/// Nothing is promised when that silo dies; the request is then sent again.
/// </summary>
[Alias("longctx.compute.v1")]
internal interface IComputeGrain : IGrainWithStringKey
{
    /// <summary>Begins a completion under an id that the caller made.</summary>
    [AlwaysInterleave, Alias("start")]
    ValueTask StartAsync(Guid id, Wire request);

    /// <summary>Events from number <paramref name="from"/> on; those before are forgotten. Waits for one at most <see cref="IConversationGrain.WaitMax"/>.</summary>
    [AlwaysInterleave, Alias("read")]
    ValueTask<Wire> ReadAsync(Guid id, int from, CancellationToken cancellation = default);

    [AlwaysInterleave, Alias("stop")]
    ValueTask StopAsync(Guid id);

    [AlwaysInterleave, Alias("embed"), ResponseTimeout("00:02:00")]
    ValueTask<Wire> EmbedAsync(Wire request, CancellationToken cancellation = default);
}

/// <param name="IsOver">No more will come.</param>
internal sealed record CompletionPage(IReadOnlyList<CompletionEvent> Events, bool IsOver);
