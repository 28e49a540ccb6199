using System.Text;
using System.Text.Json;

namespace LongCtx.Api.Json;

/// <summary>The content of a message: a string, or text parts, whose texts follow one another with nothing added between them.</summary>
internal static class TextContent
{
    /// <param name="types">What a text part may call itself.</param>
    public static string Read(JsonElement content, string path, params ReadOnlySpan<string> types) => content.ValueKind switch
    {
        JsonValueKind.String => content.Text(path),
        JsonValueKind.Array => Parts(content, path, types),
        _ => throw ApiException.Type(path, "a string or an array of text parts", content.Kind()),
    };

    static string Parts(JsonElement parts, string path, ReadOnlySpan<string> types)
    {
        StringBuilder text = new();
        int i = 0;
        foreach (JsonElement part in parts.EnumerateArray())
        {
            JsonFields fields = new(part, $"{path}[{i++}]");
            string type = fields.RequiredText("type");
            if (!types.Contains(type)) throw ApiException.Unsupported(fields.Name("type"), $"only text parts are implemented, not '{type}'.");
            text.Append(fields.RequiredText("text"));
            fields.NotImplemented("annotations", "logprobs"); // as clients send back what they got
            fields.RefuseOthers();
        }
        return i > 0 ? text.ToString() : throw ApiException.Value(path, "an array of at least one part", "[]");
    }
}
