using System.Text.Json;
using LongCtx.Engine.Files;

namespace LongCtx.Engine.Models;

/// <summary>Configuration values by key, from either format; a value of the wrong type or out of range is an error with file and byte.</summary>
internal abstract class ConfigFields
{
    public abstract bool Contains(string key);

    public abstract long? Integer(string key);

    public abstract double? Number(string key);

    public abstract string? Text(string key);

    public abstract bool? Flag(string key);

    public abstract ModelFileException Fail(string key, string problem);

    public int Int(string key, int min, int max) => OptionalInt(key, min, max) ?? throw Missing(key);

    public int? OptionalInt(string key, int min, int max) => Integer(key) switch
    {
        null => null,
        long value when value >= min && value <= max => (int)value,
        long value => throw Fail(key, $"'{key}' is {value}; {min} to {max} are allowed"),
    };

    public double Number(string key, double min, double max) => OptionalNumber(key, min, max) ?? throw Missing(key);

    public double? OptionalNumber(string key, double min, double max) => Number(key) switch
    {
        null => null,
        double value when value >= min && value <= max => value,
        double value => throw Fail(key, $"'{key}' is {value}; {min} to {max} are allowed"),
    };

    public ModelFileException Missing(string key) => Fail(key, $"'{key}' is missing");
}

/// <summary>The keys of one architecture: 'block_count' stands for 'llama.block_count'.</summary>
internal sealed class GgufFields(GgufMetadata metadata, string architecture) : ConfigFields
{
    public override bool Contains(string key) => metadata.Contains(Full(key));

    /// <summary>Some converters write one value per layer; that is fine while all are equal.</summary>
    public override long? Integer(string key)
    {
        if (!metadata.Entries.TryGetValue(Full(key), out GgufMetadata.Entry entry) || entry.Value is not Array { Length: > 0 } values)
            return metadata.Integer(Full(key));
        object one = values.GetValue(0)!;
        if (values.Length > ConfigLimits.LayerCountMax || !GgufMetadata.TryInteger(one, out long first)) return metadata.Integer(Full(key));
        foreach (object value in values)
            if (!value.Equals(one)) throw Fail(key, $"'{Full(key)}' differs from layer to layer, which is not supported");
        return first;
    }

    public override double? Number(string key) => metadata.Number(Full(key));

    public override string? Text(string key) => metadata.String(Full(key));

    public override bool? Flag(string key) => metadata.Bool(Full(key));

    public override ModelFileException Fail(string key, string problem) => metadata.Fail(Full(key), $"{problem} (architecture '{architecture}')");

    string Full(string key) => $"{architecture}.{key}";
}

/// <summary>The members of one JSON object; null counts as absent.</summary>
internal sealed class JsonFields(JsonFile file, JsonElement element) : ConfigFields
{
    public override bool Contains(string key) => Find(key) is not null;

    public override long? Integer(string key)
    {
        if (Find(key) is not { } value) return null;
        if (value.ValueKind != JsonValueKind.Number) throw Wrong(key, "an integer", value);
        if (value.TryGetInt64(out long integer)) return integer;
        return value.TryGetDouble(out double number) && Math.Abs(number) < 1L << 53 && double.IsInteger(number) ? (long)number : throw Wrong(key, "an integer", value);
    }

    public override double? Number(string key) => Find(key) is not { } value ? null : NumberOf(key, value);

    public override string? Text(string key) => Find(key) is not { } value ? null : file.Text(value, key);

    public override bool? Flag(string key) => Find(key) is not { } value ? null : value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Wrong(key, "true or false", value),
    };

    public double[]? Numbers(string key)
    {
        if (Find(key) is not { } value) return null;
        if (value.ValueKind != JsonValueKind.Array) throw Wrong(key, "an array of numbers", value);
        return [.. value.EnumerateArray().Select(item => NumberOf(key, item))];
    }

    /// <summary>Items of an array, or the value itself as the only item.</summary>
    public IEnumerable<JsonElement> Items(string key) => Find(key) switch
    {
        null => [],
        { ValueKind: JsonValueKind.Array } array => array.EnumerateArray(),
        { } single => [single],
    };

    public JsonFields? Object(string key)
    {
        if (Find(key) is not { } value) return null;
        return value.ValueKind == JsonValueKind.Object ? new JsonFields(file, value) : throw Wrong(key, "an object", value);
    }

    public override ModelFileException Fail(string key, string problem) => file.Fail(Find(key) ?? element, problem);

    public JsonElement? Find(string key) =>
        element.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    double NumberOf(string key, JsonElement value) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number)
            ? number
            : throw Wrong(key, "a finite number", value);

    ModelFileException Wrong(string key, string expected, JsonElement value) => file.Fail(value, $"'{key}' must be {expected} but is {value.ValueKind}");
}
