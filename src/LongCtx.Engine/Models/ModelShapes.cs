namespace LongCtx.Engine.Models;

/// <summary>Which tensors a configuration needs, and their shapes; layer is -1 for the tensors outside the layers.</summary>
internal static class ModelShapes
{
    public static IEnumerable<(TensorSlot Slot, int Layer, long[] Shape)> Of(DecoderConfig c)
    {
        (long hidden, long query, long keyValue, long feedForward) = (c.HiddenSize, c.QuerySize, c.KeyValueSize, c.FeedForwardSize);
        yield return (TensorSlot.TokenEmbedding, -1, [c.VocabularySize, hidden]);
        yield return (TensorSlot.OutputNorm, -1, [hidden]);
        if (!c.TiedEmbeddings) yield return (TensorSlot.Output, -1, [c.VocabularySize, hidden]);
        for (int layer = 0; layer < c.LayerCount; layer++)
        {
            yield return (TensorSlot.AttentionNorm, layer, [hidden]);
            yield return (TensorSlot.Query, layer, [query, hidden]);
            yield return (TensorSlot.Key, layer, [keyValue, hidden]);
            yield return (TensorSlot.Value, layer, [keyValue, hidden]);
            yield return (TensorSlot.AttentionOutput, layer, [hidden, query]);
            yield return (TensorSlot.FeedForwardNorm, layer, [hidden]);
            yield return (TensorSlot.Gate, layer, [feedForward, hidden]);
            yield return (TensorSlot.Up, layer, [feedForward, hidden]);
            yield return (TensorSlot.Down, layer, [hidden, feedForward]);
            if (c.HasQkvBias)
            {
                yield return (TensorSlot.QueryBias, layer, [query]);
                yield return (TensorSlot.KeyBias, layer, [keyValue]);
                yield return (TensorSlot.ValueBias, layer, [keyValue]);
            }

            if (c.HasAttentionOutputBias) yield return (TensorSlot.AttentionOutputBias, layer, [hidden]);
            if (c.HasFeedForwardBias)
            {
                yield return (TensorSlot.GateBias, layer, [feedForward]);
                yield return (TensorSlot.UpBias, layer, [feedForward]);
                yield return (TensorSlot.DownBias, layer, [hidden]);
            }

            if (c.HasQkNorm)
            {
                yield return (TensorSlot.QueryNorm, layer, [c.HeadDimension]);
                yield return (TensorSlot.KeyNorm, layer, [c.HeadDimension]);
            }
        }
    }

    public static IEnumerable<(TensorSlot Slot, int Layer, long[] Shape)> Of(EncoderConfig c)
    {
        (long hidden, long feedForward) = (c.HiddenSize, c.FeedForwardSize);
        yield return (TensorSlot.TokenEmbedding, -1, [c.VocabularySize, hidden]);
        yield return (TensorSlot.PositionEmbedding, -1, [c.PositionCount, hidden]);
        yield return (TensorSlot.TokenTypeEmbedding, -1, [c.TokenTypeCount, hidden]);
        yield return (TensorSlot.EmbeddingNorm, -1, [hidden]);
        yield return (TensorSlot.EmbeddingNormBias, -1, [hidden]);
        for (int layer = 0; layer < c.LayerCount; layer++)
        {
            foreach (TensorSlot slot in EncoderSquares) yield return (slot, layer, [hidden, hidden]);
            yield return (TensorSlot.Up, layer, [feedForward, hidden]);
            yield return (TensorSlot.Down, layer, [hidden, feedForward]);
            yield return (TensorSlot.UpBias, layer, [feedForward]);
            foreach (TensorSlot slot in EncoderVectors) yield return (slot, layer, [hidden]);
        }
    }

    static readonly TensorSlot[] EncoderSquares = [TensorSlot.Query, TensorSlot.Key, TensorSlot.Value, TensorSlot.AttentionOutput];

    static readonly TensorSlot[] EncoderVectors =
    [
        TensorSlot.QueryBias, TensorSlot.KeyBias, TensorSlot.ValueBias, TensorSlot.AttentionOutputBias, TensorSlot.DownBias,
        TensorSlot.AttentionNorm, TensorSlot.AttentionNormBias, TensorSlot.FeedForwardNorm, TensorSlot.FeedForwardNormBias,
    ];
}
