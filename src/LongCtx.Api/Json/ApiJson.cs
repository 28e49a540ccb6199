using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using LongCtx.Api.Chat;
using LongCtx.Api.Conversations;
using LongCtx.Api.Embeddings;
using LongCtx.Api.Events;
using LongCtx.Api.Items;
using LongCtx.Api.Models;
using LongCtx.Api.Responses;

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
[JsonSerializable(typeof(ConversationBody))]
[JsonSerializable(typeof(ListBody<ConversationBody>))]
[JsonSerializable(typeof(AdapterBody))]
[JsonSerializable(typeof(DeletedBody))]
[JsonSerializable(typeof(MessageItem))]
[JsonSerializable(typeof(ListBody<MessageItem>))]
[JsonSerializable(typeof(AppendedBody))]
[JsonSerializable(typeof(FeedAck))]
[JsonSerializable(typeof(ResponseBody))]
[JsonSerializable(typeof(ResponseStateEvent))]
[JsonSerializable(typeof(OutputItemEvent))]
[JsonSerializable(typeof(ContentPartEvent))]
[JsonSerializable(typeof(TextDeltaEvent))]
[JsonSerializable(typeof(TextDoneEvent))]
[JsonSerializable(typeof(ErrorEvent))]
[JsonSerializable(typeof(ConversationEvent))]
[JsonSerializable(typeof(ErrorNotice))]
[JsonSerializable(typeof(RewoundNotice))]
[JsonSerializable(typeof(GapNotice))]
internal sealed partial class ApiJson : JsonSerializerContext
{
    // Answers are served as application/json with nosniff, so nothing needs escaping for HTML.
    public static ApiJson Instance { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter<FinishReason>(JsonNamingPolicy.SnakeCaseLower), new JsonStringEnumConverter<RestoreGrade>(JsonNamingPolicy.SnakeCaseLower) },
    });
}
