using System.Text.Json;
using LongCtx.Api.Json;

namespace LongCtx.Api.Chat;

/// <summary>Reads the messages of a chat. Whether a role may stand where it does is for the model's template to say.</summary>
internal static class ChatMessages
{
    public static IReadOnlyList<ChatMessage> Read(JsonFields fields)
    {
        if (!fields.Take("messages", out JsonElement value)) throw ApiException.Missing("messages");
        if (value.ValueKind != JsonValueKind.Array) throw ApiException.Type("messages", "an array", value.Kind());
        if (value.GetArrayLength() == 0) throw ApiException.Value("messages", "an array of at least one message", "[]");
        return [.. value.EnumerateArray().Select((message, i) => Message(new JsonFields(message, $"messages[{i}]")))];
    }

    static ChatMessage Message(JsonFields fields)
    {
        string role = fields.RequiredText("role");
        if (role is not ("system" or "developer" or "user" or "assistant" or "tool"))
            throw ApiException.Value(fields.Name("role"), "system, developer, user, assistant or tool", $"'{role}'");
        if (!fields.Take("content", out JsonElement content)) throw ApiException.Missing(fields.Name("content"));
        string text = TextContent.Read(content, fields.Name("content"), "text");
        // Clients send a reply back as they got it: its empty fields say nothing.
        if (role == "assistant") fields.NotImplemented("refusal", "annotations", "audio", "tool_calls", "function_call");
        // Templates see role and content only; the id serves the client's own book-keeping.
        if (role == "tool") fields.WithoutEffect(JsonValueKind.String, "tool_call_id");
        fields.NotImplemented("name");
        fields.RefuseOthers();
        return new(role, text);
    }
}
