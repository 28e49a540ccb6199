namespace LongCtx.Api.Embeddings;

internal sealed record EmbeddingList(string Object, EmbeddingItem[] Data, string Model, EmbeddingUsage Usage);

/// <param name="Embedding">float[], or its little-endian bytes as a base64 string.</param>
internal sealed record EmbeddingItem(string Object, int Index, object Embedding);

internal sealed record EmbeddingUsage(
    int PromptTokens, int TotalTokens, [property: System.Text.Json.Serialization.JsonPropertyName("longctx")] EmbeddingNotes LongCtx);

/// <param name="TruncatedInputs">Inputs that were cut at the model's length.</param>
internal sealed record EmbeddingNotes(int TruncatedInputs);
