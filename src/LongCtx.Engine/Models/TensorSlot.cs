namespace LongCtx.Engine.Models;

/// <summary>The places a model has for tensors, whatever a file calls them. Matrices are [outputs, inputs].</summary>
public enum TensorSlot
{
    TokenEmbedding,

    // Decoder
    OutputNorm,
    Output,
    RopeFactors,
    RopeFactorsShort,
    RopeFactorsLong,

    // Encoder
    PositionEmbedding,
    TokenTypeEmbedding,
    EmbeddingNorm,
    EmbeddingNormBias,

    // Per layer, both. A decoder's norms stand before attention and feed-forward, an encoder's behind them and their residual.
    AttentionNorm,
    AttentionNormBias,
    Query,
    QueryBias,
    Key,
    KeyBias,
    Value,
    ValueBias,
    QueryNorm,
    KeyNorm,
    AttentionOutput,
    AttentionOutputBias,
    FeedForwardNorm,
    FeedForwardNormBias,
    Gate,
    GateBias,
    Up,
    UpBias,
    Down,
    DownBias,
}
