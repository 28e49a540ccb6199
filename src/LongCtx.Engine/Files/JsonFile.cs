using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace LongCtx.Engine.Files;

/// <summary>A JSON file that lies beside a model, parsed whole; every failure names the file and the byte.</summary>
internal sealed class JsonFile : IDisposable
{
    public const int SizeMax = 64 << 20;
    const int DepthMax = 32;

    readonly byte[] bytes;
    readonly JsonDocument document;

    JsonFile(string path, byte[] bytes, JsonDocument document) => (Path, this.bytes, this.document) = (path, bytes, document);

    public string Path { get; }

    /// <summary>An object: files with another root are refused.</summary>
    public JsonElement Root => document.RootElement;

    public static JsonFile Open(string path)
    {
        byte[] content = ReadAllBytes(path, SizeMax);
        try
        {
            JsonDocument parsed = JsonDocument.Parse(content, new JsonDocumentOptions { MaxDepth = DepthMax, AllowDuplicateProperties = false });
            if (parsed.RootElement.ValueKind == JsonValueKind.Object) return new JsonFile(path, content, parsed);
            parsed.Dispose();
            throw new ModelFileException(path, 0, "must hold a JSON object");
        }
        catch (JsonException e)
        {
            throw new ModelFileException(path, ByteOffset(content, e), "is not valid JSON: " + e.Message, e);
        }
        catch (InvalidOperationException e) // a property name that is not valid UTF-8 or UTF-16
        {
            throw new ModelFileException(path, 0, "is not valid JSON: " + e.Message, e);
        }
    }

    public static byte[] ReadAllBytes(string path, int bytesMax)
    {
        try
        {
            long length = new FileInfo(path).Length;
            if (length > bytesMax) throw new ModelFileException(path, 0, $"has {length} bytes; at most {bytesMax} are allowed");
            return File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelFileException(path, 0, "cannot be read: " + e.Message, e);
        }
    }

    public ModelFileException Fail(JsonElement at, string problem) => new(Path, OffsetOf(at), problem);

    /// <summary>Text of a string element; escapes and bytes that are not Unicode are refused.</summary>
    public string Text(JsonElement element, string name)
    {
        if (element.ValueKind != JsonValueKind.String) throw Fail(element, $"'{name}' must be a string but is {element.ValueKind}");
        try
        {
            return element.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw new ModelFileException(Path, OffsetOf(element), $"'{name}' is not valid Unicode", e);
        }
    }

    /// <summary>Members of an object with their names; names that are not Unicode are refused.</summary>
    public IEnumerable<(string Name, JsonElement Value)> Members(JsonElement element)
    {
        foreach (JsonProperty member in element.EnumerateObject())
        {
            string name;
            try
            {
                name = member.Name;
            }
            catch (InvalidOperationException e)
            {
                throw new ModelFileException(Path, OffsetOf(member.Value), "a property name is not valid Unicode", e);
            }

            yield return (name, member.Value);
        }
    }

    /// <summary>The document refers to our buffer, so an element's raw text tells its place in the file.</summary>
    long OffsetOf(JsonElement element)
    {
        ref byte raw = ref MemoryMarshal.GetReference(JsonMarshal.GetRawUtf8Value(element));
        long offset = Unsafe.ByteOffset(ref MemoryMarshal.GetArrayDataReference(bytes), ref raw);
        return offset >= 0 && offset < bytes.Length ? offset : 0;
    }

    static long ByteOffset(ReadOnlySpan<byte> bytes, JsonException e)
    {
        int start = 0;
        for (long line = e.LineNumber ?? 0; line > 0; line--)
        {
            int end = bytes[start..].IndexOf((byte)'\n');
            if (end < 0) break;
            start += end + 1;
        }

        return Math.Min(bytes.Length, start + (e.BytePositionInLine ?? 0));
    }

    public void Dispose() => document.Dispose();
}
