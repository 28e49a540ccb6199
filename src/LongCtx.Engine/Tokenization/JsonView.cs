using System.Text.Json;

namespace LongCtx.Engine.Tokenization;

/// <summary>A value of a JSON file that knows its place, so that every complaint names file and path.</summary>
internal readonly record struct JsonView(string File, string Path, JsonElement Element)
{
    const int DepthMax = 64;
    const long LengthMax = 256 << 20;

    /// <summary>Reads a whole file. The document belongs to the caller.</summary>
    public static JsonView Read(string file, out JsonDocument document)
    {
        try
        {
            long length = new FileInfo(file).Length;
            if (length > LengthMax) throw new TokenizerException(file, null, $"is {length} bytes long; at most {LengthMax} are read");
            ReadOnlyMemory<byte> bytes = System.IO.File.ReadAllBytes(file);
            if (bytes.Span.StartsWith("\uFEFF"u8)) bytes = bytes[3..];
            document = JsonDocument.Parse(bytes, new JsonDocumentOptions { MaxDepth = DepthMax });
            return new JsonView(file, "", document.RootElement);
        }
        catch (JsonException e)
        {
            throw new TokenizerException(file, $"line {e.LineNumber + 1}, byte {e.BytePositionInLine}", "is not valid JSON: " + e.Message, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            throw new TokenizerException(file, null, "cannot be read: " + e.Message, e);
        }
    }

    public JsonValueKind Kind => Element.ValueKind;

    public JsonView Required(string name) => Optional(name) ?? throw Error($"has no \"{name}\"");

    /// <summary>Null where the property is missing or null.</summary>
    public JsonView? Optional(string name)
    {
        Expect(JsonValueKind.Object, "an object");
        return Element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null
            ? new JsonView(File, Path.Length == 0 ? name : Path + "." + name, value) : null;
    }

    public string? Text(string name) => Optional(name)?.Text();

    public bool Flag(string name, bool otherwise = false) => Optional(name)?.Flag() ?? otherwise;

    public int? Int(string name) => Optional(name)?.Int();

    public string Text()
    {
        Expect(JsonValueKind.String, "a string");
        try
        {
            return Element.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw Error("is not valid Unicode: " + e.Message, e);
        }
    }

    public bool Flag() => Kind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Error("must be true or false"),
    };

    public int Int()
    {
        Expect(JsonValueKind.Number, "a number");
        return Element.TryGetInt32(out int value) ? value : throw Error("must be a whole number below 2^31");
    }

    public IEnumerable<JsonView> Items()
    {
        Expect(JsonValueKind.Array, "an array");
        int i = 0;
        foreach (JsonElement item in Element.EnumerateArray()) yield return new JsonView(File, $"{Path}[{i++}]", item);
    }

    /// <summary>Names and values of an object. Names are checked for valid Unicode.</summary>
    public IEnumerable<(string Name, JsonView Value)> Properties()
    {
        Expect(JsonValueKind.Object, "an object");
        foreach (JsonProperty property in Element.EnumerateObject())
        {
            string name;
            try
            {
                name = property.Name;
            }
            catch (InvalidOperationException e)
            {
                throw Error("has a name that is not valid Unicode: " + e.Message, e);
            }
            yield return (name, new JsonView(File, Path, property.Value));
        }
    }

    public TokenizerException Error(string problem, Exception? inner = null) => new(File, Path.Length == 0 ? null : Path, problem, inner);

    void Expect(JsonValueKind kind, string what)
    {
        if (Kind != kind) throw Error("must be " + what);
    }
}
