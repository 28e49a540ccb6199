using System.Buffers.Binary;
using System.Text.Json;

namespace LongCtx.Engine.Files;

/// <summary>
/// The front of a safetensors file: length of the header u64 | header, a JSON object: name → { dtype, shape, data_offsets [begin, end) }.
/// Offsets count from the end of the header. Parsed in one pass, so that memory stays in proportion to what is really there.
/// </summary>
internal sealed class SafetensorsHeader
{
    public const int BytesMax = 100_000_000; // the reference implementation's cap
    const int DepthMax = 8;
    const int DimensionCountMax = 8;

    public Dictionary<string, TensorInfo> Tensors { get; } = [];

    public Dictionary<string, UnsupportedTensor> Unsupported { get; } = [];

    public Dictionary<string, string> Metadata { get; } = [];

    public static unsafe SafetensorsHeader Read(MappedFile file, int part)
    {
        if (file.Length < 8) throw new ModelFileException(file.Path, 0, $"has only {file.Length} bytes: not a safetensors file");
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(new ReadOnlySpan<byte>(file.Start, 8));
        if (length > BytesMax)
            throw new ModelFileException(file.Path, 0, $"claims a header of {length} bytes; at most {BytesMax} are allowed: not a safetensors file?");
        if ((long)length > file.Length - 8)
            throw new ModelFileException(file.Path, 0, $"claims a header of {length} bytes but ends after {file.Length - 8}: the file is truncated or damaged");

        return Parse(file.Path, new ReadOnlySpan<byte>(file.Start + 8, (int)length), file.Length, part);
    }

    /// <param name="path">Named in errors.</param>
    /// <param name="json">The header without its length.</param>
    /// <param name="fileLength">Bytes of the whole file: no tensor lies beyond.</param>
    /// <param name="part">Which file of a sharded model.</param>
    public static SafetensorsHeader Parse(string path, ReadOnlySpan<byte> json, long fileLength, int part = 0)
    {
        SafetensorsHeader header = new();
        Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = DepthMax });
        try
        {
            header.Parse(ref reader, new(path, fileLength, DataStart: 8 + json.Length), part);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException) // the latter: a string that is not valid Unicode
        {
            throw new ModelFileException(path, 8 + reader.BytesConsumed, "the header is not valid JSON: " + e.Message, e);
        }

        if (TensorLayout.FindOverlap(header.Tensors.Values) is var (first, second))
            throw new ModelFileException(path, second.Offset, $"tensors '{first.Name}' and '{second.Name}' overlap");
        return header;
    }

    readonly record struct Source(string Path, long Length, long DataStart);

    void Parse(ref Utf8JsonReader reader, Source file, int part)
    {
        bool hasMetadata = false;
        Expect(ref reader, file, JsonTokenType.StartObject, "the header");
        while (Next(ref reader) != JsonTokenType.EndObject)
        {
            long entry = 8 + reader.TokenStartIndex;
            string name = reader.GetString()!;
            if (name == "__metadata__")
            {
                if (hasMetadata) throw new ModelFileException(file.Path, entry, "'__metadata__' occurs twice");
                hasMetadata = true;
                ReadMetadata(ref reader, file);
                continue;
            }

            if (Tensors.ContainsKey(name) || Unsupported.ContainsKey(name))
                throw new ModelFileException(file.Path, entry, $"tensor '{name}' occurs twice");
            ReadTensor(ref reader, file, part, entry, name);
        }

        if (reader.Read()) throw new ModelFileException(file.Path, 8 + reader.TokenStartIndex, "the header goes on after its object");
    }

    void ReadMetadata(ref Utf8JsonReader reader, Source file)
    {
        Expect(ref reader, file, JsonTokenType.StartObject, "'__metadata__'");
        while (Next(ref reader) != JsonTokenType.EndObject)
        {
            long entry = 8 + reader.TokenStartIndex;
            string key = reader.GetString()!;
            Expect(ref reader, file, JsonTokenType.String, "a value of '__metadata__'");
            if (!Metadata.TryAdd(key, reader.GetString()!)) throw new ModelFileException(file.Path, entry, $"metadata '{key}' occurs twice");
        }
    }

    void ReadTensor(ref Utf8JsonReader reader, Source file, int part, long entry, string name)
    {
        string? type = null;
        long[]? shape = null, range = null;
        Expect(ref reader, file, JsonTokenType.StartObject, "a tensor entry");
        while (Next(ref reader) != JsonTokenType.EndObject)
        {
            if (reader.ValueTextEquals("dtype"))
            {
                Expect(ref reader, file, JsonTokenType.String, "'dtype'");
                type = reader.GetString();
            }
            else if (reader.ValueTextEquals("shape")) shape = ReadNumbers(ref reader, file, "'shape'");
            else if (reader.ValueTextEquals("data_offsets")) range = ReadNumbers(ref reader, file, "'data_offsets'");
            else throw new ModelFileException(file.Path, 8 + reader.TokenStartIndex, $"tensor '{name}' has an unknown property");
        }

        ModelFileException Fail(string problem) => new(file.Path, entry, $"tensor '{name}' {problem}");
        if (type is null || shape is null || range is not [long begin, long end]) throw Fail("lacks one of dtype, shape and data_offsets [begin, end]");
        long dataLength = file.Length - file.DataStart;
        if (begin > end || end > dataLength)
            throw Fail($"lies at bytes {begin} to {end} of only {dataLength} bytes of data: the file is truncated or damaged");
        TensorType? known = type switch { "F32" => TensorType.F32, "F16" => TensorType.F16, "BF16" => TensorType.BF16, _ => null };
        if (known is null)
        {
            Unsupported.Add(name, new(name, type, entry));
            return;
        }

        if (!TensorLayout.TryByteLength(known.Value, shape, out long bytes) || bytes != end - begin)
            throw Fail($"of type {type} and shape {TensorInfo.Describe(shape)} does not fill its {end - begin} bytes");
        Tensors.Add(name, new(name, known.Value, shape, bytes, file.DataStart + begin, part));
    }

    static long[] ReadNumbers(ref Utf8JsonReader reader, Source file, string what)
    {
        Expect(ref reader, file, JsonTokenType.StartArray, what);
        Span<long> numbers = stackalloc long[DimensionCountMax];
        int count = 0;
        while (Next(ref reader) != JsonTokenType.EndArray)
        {
            if (count == DimensionCountMax)
                throw new ModelFileException(file.Path, 8 + reader.TokenStartIndex, $"{what} has more than {DimensionCountMax} numbers");
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out numbers[count]) || numbers[count] < 0)
                throw new ModelFileException(file.Path, 8 + reader.TokenStartIndex, $"{what} must hold integers from 0 to {long.MaxValue}");
            count++;
        }

        return numbers[..count].ToArray();
    }

    static JsonTokenType Next(ref Utf8JsonReader reader) =>
        reader.Read() ? reader.TokenType : throw new JsonException("it ends too early");

    static void Expect(ref Utf8JsonReader reader, Source file, JsonTokenType expected, string what)
    {
        if (Next(ref reader) != expected)
            throw new ModelFileException(file.Path, 8 + reader.TokenStartIndex, $"{what} must be {expected} but is {reader.TokenType}");
    }
}
