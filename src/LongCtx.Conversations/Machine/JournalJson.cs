using System.Text.Json;
using System.Text.Json.Serialization;
using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Machine;

/// <summary>How events and states are written: snake_case, so that they read alike in a database, an export and an HTTP answer.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, UseStringEnumConverter = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ConversationEvent))]
[JsonSerializable(typeof(ConversationState))]
public sealed partial class JournalJson : JsonSerializerContext;

/// <summary>Events to stored records and back.</summary>
public static class JournalRecords
{
    public static StoredEvent ToStored(ConversationEvent e, ReadOnlyMemory<int> tokens) =>
        new(e.Seq, EventKinds.Of(e), tokens, JsonSerializer.Serialize(e, JournalJson.Default.ConversationEvent));

    /// <exception cref="StoreException">The record is none that this version knows: it was written by a newer one, or damaged.</exception>
    public static ConversationEvent ToEvent(StoredEvent stored)
    {
        try
        {
            return JsonSerializer.Deserialize(stored.Body, JournalJson.Default.ConversationEvent)!;
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            throw new StoreException($"event {stored.Seq} of kind '{stored.Kind}' cannot be read: it was written by a newer version, or the store is damaged ({e.Message})", false, e);
        }
    }
}
