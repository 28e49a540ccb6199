using System.Text;
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
        string text = content.ValueKind switch
        {
            JsonValueKind.String => content.Text(fields.Name("content")),
            JsonValueKind.Array => Parts(content, fields.Name("content")),
            _ => throw ApiException.Type(fields.Name("content"), "a string or an array of text parts", content.Kind()),
        };
        // Clients send an item back as they got it.
        fields.WithoutEffect(JsonValueKind.String, "id", "status");
        fields.RefuseOthers();
        return new(role, text);
    }

    /// <summary>The parts' texts one after another, with nothing added between them.</summary>
    static string Parts(JsonElement parts, string path)
    {
        StringBuilder text = new();
        int i = 0;
        foreach (JsonElement part in parts.EnumerateArray())
        {
            JsonFields fields = new(part, $"{path}[{i++}]");
            string type = fields.RequiredText("type");
            if (type is not ("input_text" or "output_text" or "text"))
                throw ApiException.Unsupported(fields.Name("type"), $"only text parts are implemented, not '{type}'.");
            text.Append(fields.RequiredText("text"));
            fields.NotImplemented("annotations", "logprobs");
            fields.RefuseOthers();
        }
        return i > 0 ? text.ToString() : throw ApiException.Value(path, "an array of at least one part", "[]");
    }
}
