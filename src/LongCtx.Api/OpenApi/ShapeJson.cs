using System.Text.Json.Serialization;

namespace LongCtx.Api.OpenApi;

/// <summary>Lets the schemas of requests be made without reflection over everything; nothing is written or read with it.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(ChatRequest))]
[JsonSerializable(typeof(EmbeddingShape))]
[JsonSerializable(typeof(StaticAdapterShape))]
[JsonSerializable(typeof(MetadataShape))]
[JsonSerializable(typeof(ConversationShape))]
[JsonSerializable(typeof(AdapterShape))]
[JsonSerializable(typeof(ItemsShape))]
[JsonSerializable(typeof(ForkShape))]
[JsonSerializable(typeof(ResponseRequest))]
internal sealed partial class ShapeJson : JsonSerializerContext;
