using System.Text.Json;

namespace LongCtx.Api.Json;

/// <summary>Single JSON values, strictly typed; <c>name</c> is what an error calls them.</summary>
internal static class JsonValues
{
    const int QuoteMax = 60;

    public static string Text(this JsonElement value, string name) => value.ValueKind == JsonValueKind.String
        ? JsonFields.Decode(() => value.GetString()!, name)
        : throw ApiException.Type(name, "a string", value.Kind());

    public static float Number(this JsonElement value, string name) => value.ValueKind == JsonValueKind.Number
        ? (float)value.GetDouble()
        : throw ApiException.Type(name, "a number", value.Kind());

    public static bool Is(this JsonElement value, string text) => value.ValueKind == JsonValueKind.String && value.ValueEquals(text);

    /// <summary>What kind of value it is, in words.</summary>
    public static string Kind(this JsonElement value) => KindName(value.ValueKind);

    public static string KindName(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => "a number",
        JsonValueKind.True or JsonValueKind.False => "a boolean",
        _ => "null",
    };

    /// <summary>The value as the client wrote it, short enough for a message.</summary>
    public static string Quote(this JsonElement value)
    {
        string raw = value.GetRawText();
        return raw.Length <= QuoteMax ? raw : string.Concat(raw.AsSpan(0, QuoteMax), "...");
    }
}
