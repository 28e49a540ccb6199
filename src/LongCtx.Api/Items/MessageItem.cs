using System.Text.Json.Serialization;

namespace LongCtx.Api.Items;

/// <summary>A message of a conversation, in OpenAI's shape.</summary>
/// <param name="Id">msg_ + conversation + turn + number within the turn.</param>
/// <param name="Status">in_progress, completed or incomplete.</param>
internal sealed record MessageItem(string Id, string Type, string Status, string Role, ContentPart[] Content)
{
    public static MessageItem Create(string id, string role, string text, string status = "completed") =>
        new(id, "message", status, role, [role == "assistant" ? ContentPart.Output(text) : ContentPart.Input(text)]);
}

/// <summary>Text of a message; what is null belongs to the other kind.</summary>
internal sealed record ContentPart(string Type, string Text)
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string[]? Annotations { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string[]? Logprobs { get; init; }

    public static ContentPart Input(string text) => new("input_text", text);

    public static ContentPart Output(string text) => new("output_text", text) { Annotations = [], Logprobs = [] };
}
