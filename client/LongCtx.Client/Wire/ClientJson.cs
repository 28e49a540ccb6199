using System.Text.Json.Serialization;
using LongCtx.Client.Chat;

namespace LongCtx.Client.Wire;

/// <summary>What goes over the wire: snake case, as the server writes it.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, UseStringEnumConverter = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    AllowOutOfOrderMetadataProperties = true)]
[JsonSerializable(typeof(ConversationEvent))]
[JsonSerializable(typeof(StreamNotice))]
[JsonSerializable(typeof(ErrorAnswer))]
[JsonSerializable(typeof(CreateBody))]
[JsonSerializable(typeof(MetadataBody))]
[JsonSerializable(typeof(ForkBody))]
[JsonSerializable(typeof(NothingBody))]
[JsonSerializable(typeof(AdapterSettings))]
[JsonSerializable(typeof(AdapterAnswer))]
[JsonSerializable(typeof(AppendBody))]
[JsonSerializable(typeof(TurnBody))]
[JsonSerializable(typeof(ConversationAnswer))]
[JsonSerializable(typeof(ConversationList))]
[JsonSerializable(typeof(AppendAnswer))]
[JsonSerializable(typeof(ResponseAnswer))]
[JsonSerializable(typeof(PlaceInTurn))]
internal sealed partial class ClientJson : JsonSerializerContext;
