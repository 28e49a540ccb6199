namespace LongCtx.Engine.Files;

/// <summary>
/// The key-value part of a GGUF file. A value is a byte, sbyte, ushort, short, uint, int, ulong, long, float, double, bool or string, an
/// array of one of these, or object[] for nested arrays. The typed getters give null for an absent key and refuse a wrong type.
/// </summary>
public sealed class GgufMetadata(string file, IReadOnlyDictionary<string, GgufMetadata.Entry> entries)
{
    /// <param name="Offset">Where the entry begins in the file.</param>
    public readonly record struct Entry(object Value, long Offset);

    public string File => file;

    public IReadOnlyDictionary<string, Entry> Entries => entries;

    public bool Contains(string key) => entries.ContainsKey(key);

    public string? String(string key) => Find<string>(key, "a string");

    public string[]? Strings(string key) => Find<string[]>(key, "an array of strings");

    public bool? Bool(string key) => entries.TryGetValue(key, out Entry entry) ? entry.Value as bool? ?? throw Wrong(key, "a boolean") : null;

    /// <summary>Any integer type, if the value fits.</summary>
    public long? Integer(string key)
    {
        if (!entries.TryGetValue(key, out Entry entry)) return null;
        return TryInteger(entry.Value, out long value) ? value : throw Wrong(key, "an integer");
    }

    public int? Int(string key) => Integer(key) switch
    {
        null => null,
        >= int.MinValue and <= int.MaxValue and long value => (int)value,
        _ => throw Wrong(key, "a 32-bit integer"),
    };

    /// <summary>Any integer or floating-point type.</summary>
    public double? Number(string key)
    {
        if (!entries.TryGetValue(key, out Entry entry)) return null;
        if (entry.Value is float single) return single;
        if (entry.Value is double number) return number;
        return TryInteger(entry.Value, out long value) ? value : throw Wrong(key, "a number");
    }

    public float[]? Floats(string key) => Find<float[]>(key, "an array of float32");

    /// <summary>int32, or uint32 if all values fit. Types are compared exactly, for the runtime lets a uint[] pass as an int[].</summary>
    public int[]? Ints(string key)
    {
        if (!entries.TryGetValue(key, out Entry entry)) return null;
        if (entry.Value.GetType() == typeof(int[])) return (int[])entry.Value;
        return entry.Value.GetType() == typeof(uint[]) && Array.TrueForAll((uint[])entry.Value, v => v <= int.MaxValue)
            ? Array.ConvertAll((uint[])entry.Value, v => (int)v)
            : throw Wrong(key, "an array of int32");
    }

    public long OffsetOf(string key) => entries.TryGetValue(key, out Entry entry) ? entry.Offset : 0;

    public ModelFileException Fail(string key, string problem) => new(file, OffsetOf(key), problem);

    internal static bool TryInteger(object value, out long integer)
    {
        (bool ok, integer) = value switch
        {
            byte v => (true, v),
            sbyte v => (true, v),
            ushort v => (true, v),
            short v => (true, v),
            uint v => (true, v),
            int v => (true, v),
            ulong v when v <= long.MaxValue => (true, (long)v),
            long v => (true, v),
            _ => (false, 0L),
        };
        return ok;
    }

    T? Find<T>(string key, string expected) where T : class =>
        entries.TryGetValue(key, out Entry entry) ? entry.Value as T ?? throw Wrong(key, expected) : null;

    ModelFileException Wrong(string key, string expected) =>
        Fail(key, $"metadata '{key}' must be {expected} but is {Describe(entries[key].Value)}");

    static string Describe(object value) => value is Array array ? $"{value.GetType().GetElementType()!.Name}[{array.Length}]" : value.GetType().Name;
}
