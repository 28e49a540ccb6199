using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using LongCtx.Api.Chat;
using LongCtx.Api.Embeddings;
using LongCtx.Api.Models;

namespace LongCtx.Api.Json;

/// <summary>How every answer is written: snake case, without reflection, readable Unicode.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(ErrorEnvelope))]
[JsonSerializable(typeof(ChatCompletion))]
[JsonSerializable(typeof(ChatChunk))]
[JsonSerializable(typeof(EmbeddingList))]
[JsonSerializable(typeof(float[]))]
[JsonSerializable(typeof(string))]
[JsonSerializable(typeof(ModelList))]
[JsonSerializable(typeof(ModelBody))]
[JsonSerializable(typeof(HealthReport))]
internal sealed partial class ApiJson : JsonSerializerContext
{
    // Answers are served as application/json with nosniff, so nothing needs escaping for HTML.
    public static ApiJson Instance { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });
}
