using System.Text.Json;

namespace LongCtx.Api.Json;

/// <summary>The client's own labels, with OpenAI's limits.</summary>
internal static class MetadataField
{
    const int PairsMax = 16, KeyMax = 64, ValueMax = 512;

    /// <summary>Null when the field is not there.</summary>
    public static Dictionary<string, string>? Metadata(this JsonFields fields)
    {
        if (!fields.Take("metadata", out JsonElement value)) return null;
        string name = fields.Name("metadata");
        if (value.ValueKind != JsonValueKind.Object) throw ApiException.Type(name, "an object of strings", value.Kind());
        Dictionary<string, string> metadata = new(StringComparer.Ordinal);
        foreach (JsonProperty pair in value.EnumerateObject())
        {
            string key = JsonFields.Decode(() => pair.Name, name);
            if (key.Length is 0 or > KeyMax) throw ApiException.Value(name, $"an object with names of 1 to {KeyMax} characters", $"one of {key.Length}");
            string text = pair.Value.Text($"{name}.{key}");
            metadata[key] = text.Length <= ValueMax ? text : throw ApiException.Value($"{name}.{key}", $"a string of at most {ValueMax} characters", $"one of {text.Length}");
        }
        return metadata.Count <= PairsMax ? metadata : throw ApiException.Value(name, $"an object of at most {PairsMax} pairs", $"one of {metadata.Count}");
    }
}
