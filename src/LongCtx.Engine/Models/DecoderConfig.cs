namespace LongCtx.Engine.Models;

/// <summary>
/// A Llama-family decoder: RMSNorm before each part, rotary positions, grouped-query attention, SwiGLU. Values are in range and agree with
/// the tensors once a <see cref="ModelSource"/> is open.
/// </summary>
public sealed record DecoderConfig
{
    /// <summary>llama, mistral, qwen2 or qwen3.</summary>
    public required string Architecture { get; init; }

    public required int LayerCount { get; init; }

    public required int HiddenSize { get; init; }

    public required int QueryHeadCount { get; init; }

    /// <summary>Divides <see cref="QueryHeadCount"/>.</summary>
    public required int KeyValueHeadCount { get; init; }

    public required int HeadDimension { get; init; }

    public required int FeedForwardSize { get; init; }

    public required int VocabularySize { get; init; }

    public required double NormEpsilon { get; init; }

    /// <summary>
    /// L of the cache rule: relative positions 0..L-1 were seen in training. The declared length, or the trained sliding window
    /// where that is shorter: a policy within L then sees exactly what the model saw.
    /// </summary>
    public required int TrainedLength { get; init; }

    /// <summary>Keys a query saw in training, itself included, where the model declares sliding-window attention for all layers.</summary>
    public int? SlidingWindow { get; init; }

    public required double RopeTheta { get; init; }

    /// <summary>Leading dimensions of a head that are rotated: even, at most <see cref="HeadDimension"/>.</summary>
    public required int RopeDimension { get; init; }

    public RopeScaling RopeScaling { get; init; } = RopeScaling.None;

    /// <summary>The output projection is the token embedding.</summary>
    public required bool TiedEmbeddings { get; init; }

    public bool HasQkvBias { get; init; }

    public bool HasAttentionOutputBias { get; init; }

    public bool HasFeedForwardBias { get; init; }

    /// <summary>RMSNorm of every query and key head before the rotation (Qwen3).</summary>
    public bool HasQkNorm { get; init; }

    public int QuerySize => QueryHeadCount * HeadDimension;

    public int KeyValueSize => KeyValueHeadCount * HeadDimension;

    public RopeFrequencies RopeFrequencies(int maximumLength) => RopeScaling.Frequencies(RopeTheta, RopeDimension, maximumLength);
}
