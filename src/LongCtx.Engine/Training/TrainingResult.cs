namespace LongCtx.Engine.Training;

/// <summary>
/// Floating point operations as a formula counts them: two for every product of matrices, attention over the keys that are seen, nothing for
/// what is computed a second time or elementwise (methods.md 2.5).
/// </summary>
/// <param name="Forward">Frozen weights and attention.</param>
/// <param name="Backward">Gradients through frozen weights and attention.</param>
/// <param name="LowRank">Products with A and B, forward and backward, and their gradients.</param>
public readonly record struct TrainingFlops(long Forward, long Backward, long LowRank)
{
    public long Total => Forward + Backward + LowRank;
}

/// <summary>What became of an update.</summary>
public sealed record TrainingResult
{
    /// <summary>The next version with its optimiser's state; null if the update was rejected.</summary>
    public required LoraState? State { get; init; }

    /// <summary>Why there is no next version; null if there is.</summary>
    public required string? Rejection { get; init; }

    /// <summary>Mean cross-entropy of the labels before each step of the optimiser, in nats; a rejected update may have stopped early.</summary>
    public required IReadOnlyList<double> Losses { get; init; }

    /// <summary>The same under the base model; null where it was not asked for.</summary>
    public required double? BaseLoss { get; init; }

    /// <summary>Global norm of each step's gradient, before clipping.</summary>
    public required IReadOnlyList<double> GradientNorms { get; init; }

    /// <summary>Mean cross-entropy of the held-out tokens under the old version and under the new one, in nats; null without such tokens.</summary>
    public required double? HeldOutBefore { get; init; }

    public required double? HeldOutAfter { get; init; }

    /// <summary>Learning rate of the steps, warm-up included.</summary>
    public required double LearningRate { get; init; }

    /// <summary>Labels × steps.</summary>
    public required long TokensTrained { get; init; }

    public required TrainingFlops Flops { get; init; }
}
