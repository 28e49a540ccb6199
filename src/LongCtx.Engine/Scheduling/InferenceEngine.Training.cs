using LongCtx.Engine.Training;

namespace LongCtx.Engine.Scheduling;

/// <summary>One update of a temporary adapter.</summary>
/// <param name="Model">Whose weights stay as they are.</param>
/// <param name="Tenant">Who pays for it.</param>
/// <param name="State">The version before.</param>
/// <param name="Chunk">What is learned, without a cache.</param>
public sealed record TrainingRequest(DecoderModel Model, string Tenant, LoraState State, TrainingChunk Chunk, TrainingOptions Options)
{
    /// <summary>Where a cache may have been pinned for the chunk (<see cref="Sequence.PinChunks"/>): then it is learned against that. Null: it never is.</summary>
    public PinnedChunk? Pinned { get; init; }
}

/// <param name="Sequence">Computed the chunk.</param>
/// <param name="At">Where it was pinned.</param>
/// <param name="Chunk">The same text as it follows that cache; the cache itself is filled in.</param>
public sealed record PinnedChunk(Sequence Sequence, long At, TrainingChunk Chunk);

/// <param name="Seconds">Of the engine's time.</param>
public sealed record TrainingOutcome(TrainingResult Result, double Seconds);

/// <summary>
/// Training beside the replies: after every step at most one slice of it, so that a token of others comes at most that much later; without anything else to do,
/// one slice after another.
/// </summary>
public sealed partial class InferenceEngine
{
    readonly TrainingQueue _training;

    /// <summary>Trains when there is time; cancelling discards it. The tenant's share of the engine's time bounds how soon.</summary>
    /// <exception cref="LongCtxException">The adapter is for another model, the settings cannot be honoured, or the engine is stopping.</exception>
    public async Task<TrainingOutcome> TrainAsync(TrainingRequest request, CancellationToken cancellation = default)
    {
        RequireFitting(request.Model, request.State.Weights);
        if (Options.TrainingShare == 0) throw new LongCtxException(ErrorCode.InvalidRequest, "this server does not train: its training share is 0", "adapter");
        var job = new TrainingJob(request, cancellation);
        await OnEngine(() =>
        {
            _training.Add(job);
            return true;
        }).ConfigureAwait(false);
        await using (cancellation.Register(Wake).ConfigureAwait(false)) return await job.Completion.Task.ConfigureAwait(false);
    }

    internal Task<long> HoldAdapterAsync(Sequence sequence, int ahead) => OnEngine(() =>
    {
        if (sequence.IsDropped) return -1;
        long at = Math.Max(sequence.Cache.Count + (sequence.User is null ? 0 : ahead), sequence.Adapters.End); // the reply may have ended before the change before
        sequence.Adapters.Hold(at);
        return at;
    });
}
