using System.Text.Json;
using LongCtx.Conversations.Machine;
using MessagePack;

namespace LongCtx.Silo.Streams;

/// <summary>Events of one conversation in order. Fields are numbered for ever; readers skip what they do not know.</summary>
[MessagePackObject]
public sealed record TokenBatch([property: Key(0)] string Conversation, [property: Key(1)] IReadOnlyList<TokenEvent> Events)
{
    public static TokenBatch Of(string conversation, IReadOnlyList<ConversationEvent> events) => new(conversation, [.. events.Select(e => new TokenEvent(
        e.Seq, JsonSerializer.Serialize(e, JournalJson.Default.ConversationEvent)))]);

    /// <exception cref="JsonException">An event is none that this version knows.</exception>
    public IReadOnlyList<ConversationEvent> ToEvents() => [.. Events.Select(e => JsonSerializer.Deserialize(e.Body, JournalJson.Default.ConversationEvent)!)];
}

/// <param name="Body">The event as in the journal, JSON.</param>
[MessagePackObject]
public sealed record TokenEvent([property: Key(0)] long Seq, [property: Key(1)] string Body);

/// <summary>A piece of text for a conversation. The same producer and number are appended once.</summary>
/// <param name="Producer">Names the source, at most 256 characters.</param>
/// <param name="Number">1, 2, 3, ... for each producer.</param>
[MessagePackObject]
public sealed record IngestBatch([property: Key(0)] string Producer, [property: Key(1)] long Number, [property: Key(2)] IReadOnlyList<IngestMessage> Messages);

[MessagePackObject]
public sealed record IngestMessage([property: Key(0)] string Role, [property: Key(1)] string Content);

/// <summary>MessagePack with the settings for bytes that anybody may have sent.</summary>
public static class Payloads
{
    static readonly MessagePackSerializerOptions s_options = MessagePackSerializerOptions.Standard.WithSecurity(MessagePackSecurity.UntrustedData);

    public static byte[] Write<T>(T value) => MessagePackSerializer.Serialize(value, s_options);

    /// <remarks>Bytes that are none of this are a MessagePackSerializationException.</remarks>
    public static T Read<T>(ReadOnlyMemory<byte> bytes) => MessagePackSerializer.Deserialize<T>(bytes, s_options);
}
