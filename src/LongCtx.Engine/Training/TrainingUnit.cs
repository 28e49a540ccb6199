namespace LongCtx.Engine.Training;

/// <summary>What a unit of work did: training is cut into pieces of a few milliseconds at most, and profiles name them so.</summary>
internal enum TrainingUnit
{
    Transpose,
    LoadCache,
    QueryKeyValue,
    Attention,
    AttentionOutput,
    FeedForward,
    Logits,
    CrossEntropy,
    LogitsBackward,
    Dequantize,
    FeedForwardBackward,
    GateUpBackward,
    AttentionOutputBackward,
    AttentionBackward,
    RotationBackward,
    QueryKeyValueBackward,
    LowRankGradients,
    SquaredNorm,
    Optimizer,
}
