using System.Text.Json.Serialization;

namespace LongCtx.Conversations.Local;

/// <summary>What makes two commands the same.</summary>
internal sealed record TurnPayload(IReadOnlyList<ChatMessage> Messages, TurnOptions? Options);

[JsonSerializable(typeof(TurnPayload))]
internal sealed partial class CommandJson : JsonSerializerContext;
