using LongCtx.Engine.Cache;
using LongCtx.Engine.Training;

namespace LongCtx.Engine.Runtime;

/// <summary>
/// Runs a decoder on one device. The unit of work is a whole step: any mix of prompt chunks and single tokens of many sequences.
/// Not thread-safe: one engine thread owns it.
/// </summary>
public interface IModelRunner : IDisposable
{
    /// <summary>Ids of the KV blocks whose memory this runner owns.</summary>
    BlockPool Pool { get; }

    int VocabularySize { get; }

    /// <summary>What is in the blocks.</summary>
    KvLayout Layout { get; }

    /// <summary>Most tokens of one step, all sequences together.</summary>
    int StepTokensMax { get; }

    /// <summary>
    /// Appends every entry's tokens to its sequence: reserves blocks, computes and commits; then the logits asked for are in the batch.
    /// A sequence may appear once per step.
    /// </summary>
    /// <exception cref="InvalidOperationException">The pool has too few blocks: the scheduler has to reserve within <see cref="Pool"/>.</exception>
    void Step(StepBatch batch);

    /// <summary>
    /// Begins an update of an adapter, to be carried on in slices between steps (<see cref="TrainingRun.Slice"/>), in memory of its own. One at a time: the
    /// one before has ended or was disposed.
    /// </summary>
    /// <exception cref="ArgumentException">The adapter is for another model, or a number is out of its range.</exception>
    TrainingRun TrainBegin(LoraState state, TrainingChunk chunk, TrainingOptions options);

    /// <summary>Whether some key of the block may carry a bias.</summary>
    bool IsBiased(int block);

    /// <summary>Copies a part of a block out; <paramref name="destination"/> is of its size.</summary>
    void Read(int block, KvPart part, Span<byte> destination);

    /// <summary>
    /// Replaces a part of a block, with numbers that are finite and no denormals (<see cref="KvNumbers"/>). Keys first: with them the block loses its biases.
    /// </summary>
    void Write(int block, KvPart part, ReadOnlySpan<byte> source);
}
