namespace LongCtx.Conversations;

/// <summary>
/// What computes without remembering: models, stateless completions, embeddings. All members are thread-safe. Arguments are not kept or changed after the call. Refusals are <see cref="LongCtxException"/>s.
/// </summary>
public interface ICompletionHost
{
    /// <summary>The loaded models; the first decoder and the first encoder are the defaults.</summary>
    ValueTask<IReadOnlyList<ModelDescription>> ListModelsAsync(CancellationToken cancellation = default);

    /// <summary>
    /// Runs one stateless completion. A refusal is thrown before the first event. Cancelling, or leaving the enumeration early, stops the
    /// generation within one step.
    /// </summary>
    IAsyncEnumerable<CompletionEvent> CompleteAsync(string tenant, CompletionRequest request, CancellationToken cancellation = default);

    /// <summary>Embeds texts with an encoder model.</summary>
    ValueTask<EmbeddingResult> EmbedAsync(string tenant, EmbeddingRequest request, CancellationToken cancellation = default);

    ValueTask<HostStatus> GetStatusAsync(CancellationToken cancellation = default);
}
