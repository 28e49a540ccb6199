using System.Text.Json;

namespace LongCtx.Api.Json;

/// <summary>
/// One JSON object, read strictly: each field is taken once, with its type and range; whatever is left at the end is refused by name.
/// A null is an absent field, as in OpenAI's API.
/// </summary>
internal sealed class JsonFields
{
    readonly string path;
    readonly Dictionary<string, JsonElement> left = new(StringComparer.Ordinal);

    public JsonFields(JsonElement value, string path = "")
    {
        this.path = path;
        if (value.ValueKind != JsonValueKind.Object) throw ApiException.Type(path, "an object", value.Kind());
        foreach (JsonProperty field in value.EnumerateObject()) left[Decode(() => field.Name, path)] = field.Value;
    }

    /// <summary>Full name of a field for messages: messages[2].content.</summary>
    public string Name(string field) => path.Length == 0 ? field : $"{path}.{field}";

    public bool Take(string field, out JsonElement value) => left.Remove(field, out value) && value.ValueKind != JsonValueKind.Null;

    public string? Text(string field) => Take(field, out JsonElement value) ? value.Text(Name(field)) : null;

    public string RequiredText(string field) => Text(field) ?? throw ApiException.Missing(Name(field));

    public bool? Flag(string field)
    {
        if (!Take(field, out JsonElement value)) return null;
        return value.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw ApiException.Type(Name(field), "true or false", value.Kind()),
        };
    }

    public int? Integer(string field, int min, int max)
    {
        if (!Take(field, out JsonElement value)) return null;
        string expected = max == int.MaxValue ? $"an integer of at least {min}" : $"an integer from {min} to {max}";
        if (value.ValueKind != JsonValueKind.Number) throw ApiException.Type(Name(field), expected, value.Kind());
        if (!value.TryGetInt32(out int number) || number < min || number > max) throw ApiException.Value(Name(field), expected, value.Quote());
        return number;
    }

    public long? Long(string field, long min)
    {
        if (!Take(field, out JsonElement value)) return null;
        string expected = $"an integer of at least {min}";
        if (value.ValueKind != JsonValueKind.Number) throw ApiException.Type(Name(field), expected, value.Kind());
        return value.TryGetInt64(out long number) && number >= min ? number : throw ApiException.Value(Name(field), expected, value.Quote());
    }

    /// <summary>A number of any size; ranges are the contract's to check.</summary>
    public float? Number(string field) => Take(field, out JsonElement value) ? value.Number(Name(field)) : null;

    /// <summary>The same with all its digits.</summary>
    public double? Double(string field)
    {
        if (!Take(field, out JsonElement value)) return null;
        return value.ValueKind == JsonValueKind.Number ? value.GetDouble() : throw ApiException.Type(Name(field), "a number", value.Kind());
    }

    /// <summary>A seed: any 64-bit integer, signed (as OpenAI has it) or unsigned.</summary>
    public ulong? Seed(string field)
    {
        if (!Take(field, out JsonElement value)) return null;
        if (value.ValueKind != JsonValueKind.Number) throw ApiException.Type(Name(field), "a 64-bit integer", value.Kind());
        if (value.TryGetInt64(out long signed)) return unchecked((ulong)signed);
        return value.TryGetUInt64(out ulong unsigned) ? unsigned : throw ApiException.Value(Name(field), "a 64-bit integer", value.Quote());
    }

    public JsonFields? Object(string field) => Take(field, out JsonElement value) ? new JsonFields(value, Name(field)) : null;

    /// <summary>Fields that change nothing here: their type is checked, their value has no effect.</summary>
    public void WithoutEffect(JsonValueKind kind, params ReadOnlySpan<string> fields)
    {
        foreach (string field in fields)
        {
            if (!Take(field, out JsonElement value)) continue;
            bool matches = value.ValueKind == kind || (kind == JsonValueKind.True && value.ValueKind == JsonValueKind.False);
            if (!matches) throw ApiException.Type(Name(field), JsonValues.KindName(kind), value.Kind());
        }
    }

    /// <summary>Fields of OpenAI's API that are not implemented; only null, or an empty list, says nothing.</summary>
    public void NotImplemented(params ReadOnlySpan<string> fields)
    {
        foreach (string field in fields)
        {
            if (!Take(field, out JsonElement value)) continue;
            if (value.ValueKind == JsonValueKind.Array && value.GetArrayLength() == 0) continue;
            throw ApiException.Unsupported(Name(field), "LongCtx does not implement it yet.");
        }
    }

    /// <summary>A field of which only values without effect are implemented.</summary>
    public void OnlyNeutral(string field, string accepted, Func<JsonElement, bool> neutral)
    {
        if (Take(field, out JsonElement value) && !neutral(value))
            throw ApiException.Unsupported(Name(field), $"LongCtx implements only {accepted}, not {value.Quote()}.");
    }

    public void RefuseOthers()
    {
        foreach (string field in left.Keys) throw ApiException.Unknown(Name(field));
    }

    /// <summary>JSON may spell half a surrogate pair, which is no text; System.Text.Json finds that out only when decoding.</summary>
    internal static string Decode(Func<string> decode, string name)
    {
        try
        {
            return decode();
        }
        catch (InvalidOperationException)
        {
            throw new ApiException(400, "invalid_value", $"'{name}' is not valid Unicode text.", name);
        }
    }
}
