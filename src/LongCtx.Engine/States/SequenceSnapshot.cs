using LongCtx.Engine.Cache;

namespace LongCtx.Engine.States;

/// <summary>A sequence as it was between two steps; it goes on meanwhile.</summary>
/// <param name="Cache">A fork: shares the blocks until it is disposed.</param>
/// <param name="Pending">The token sampled last and not yet computed; -1 when there is none.</param>
/// <param name="Recent">The newest tokens, <paramref name="Pending"/> included.</param>
/// <param name="Biased">Tables with a block that may carry biases.</param>
internal sealed record SequenceSnapshot(KvSequence Cache, int Pending, int[] Recent, IReadOnlyList<KvTable> Biased);
