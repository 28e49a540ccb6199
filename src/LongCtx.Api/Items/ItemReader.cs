using System.Text.Json;
using LongCtx.Api.Json;

namespace LongCtx.Api.Items;

/// <summary>Reads items that a client sends: messages of text.</summary>
internal static class ItemReader
{
    public static IReadOnlyList<ChatMessage> Read(JsonElement items, string path) =>
        [.. items.EnumerateArray().Select((item, i) => Read(new JsonFields(item, $"{path}[{i}]")))];

    public static ChatMessage Read(JsonFields fields)
    {
        string type = fields.Text("type") ?? "message";
        if (type != "message") throw ApiException.Unsupported(fields.Name("type"), $"only items of type message are implemented, not '{type}'.");
        string role = fields.RequiredText("role");
        if (role is not ("system" or "developer" or "user" or "assistant"))
            throw ApiException.Value(fields.Name("role"), "system, developer, user or assistant", $"'{role}'");
        if (!fields.Take("content", out JsonElement content)) throw ApiException.Missing(fields.Name("content"));
        string text = TextContent.Read(content, fields.Name("content"), "input_text", "output_text", "text");
        // Clients send an item back as they got it.
        fields.WithoutEffect(JsonValueKind.String, "id", "status");
        fields.RefuseOthers();
        return new(role, text);
    }
}
