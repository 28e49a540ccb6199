namespace LongCtx.Engine.Models;

/// <summary>How the token vectors of a text become one vector.</summary>
public enum Pooling { Mean, Cls }

/// <summary>A BERT encoder: learned absolute positions, LayerNorm after each part, GELU (the erf form).</summary>
public sealed record EncoderConfig
{
    public required string Architecture { get; init; }

    public required int LayerCount { get; init; }

    public required int HiddenSize { get; init; }

    public required int HeadCount { get; init; }

    public required int FeedForwardSize { get; init; }

    public required int VocabularySize { get; init; }

    public required double NormEpsilon { get; init; }

    /// <summary>Rows of the position embedding.</summary>
    public required int PositionCount { get; init; }

    public required int TokenTypeCount { get; init; }

    public required Pooling Pooling { get; init; }

    /// <summary>Tokens per text that the model was made for, [CLS] and [SEP] included; at most <see cref="PositionCount"/>.</summary>
    public required int MaximumLength { get; init; }

    public int HeadDimension => HiddenSize / HeadCount;
}
