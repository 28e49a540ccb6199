namespace LongCtx;

/// <summary>Texts to embed with an encoder model. <paramref name="Model"/> null is the server's first encoder.</summary>
public sealed record EmbeddingRequest(string? Model, IReadOnlyList<string> Inputs);

/// <summary>L2-normalised vectors in the order of the inputs. <paramref name="TruncatedInputs"/> counts inputs that were cut at the model's length.</summary>
public sealed record EmbeddingResult(string Model, IReadOnlyList<float[]> Vectors, int PromptTokens, int TruncatedInputs);
