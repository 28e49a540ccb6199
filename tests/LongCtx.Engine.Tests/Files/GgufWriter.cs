using System.Text;
using LongCtx.Engine.Files;

namespace LongCtx.Engine.Tests.Files;

/// <summary>Writes GGUF files, deliberately wrong ones too: every count, offset and type can be overridden.</summary>
internal sealed class GgufWriter
{
    readonly List<(string Key, Action<BinaryWriter> Write)> metadata = [];
    readonly List<(TestTensor Tensor, uint? Type, ulong? Offset, ulong[]? Dimensions)> tensors = [];

    public uint Version { get; init; } = 3;

    public int Alignment { get; init; } = 32;

    public ulong? TensorCount { get; init; }

    public ulong? MetadataCount { get; init; }

    public GgufWriter Add(string key, object value)
    {
        metadata.Add((key, w =>
        {
            w.Write(TypeOf(value));
            WriteValue(w, value);
        }));
        return this;
    }

    /// <summary>Sets a key that may be there already.</summary>
    public GgufWriter Replace(string key, object value)
    {
        metadata.RemoveAll(entry => entry.Key == key);
        return Add(key, value);
    }

    /// <summary>An entry whose type and value are written by hand.</summary>
    public GgufWriter AddRaw(string key, Action<BinaryWriter> typeAndValue)
    {
        metadata.Add((key, typeAndValue));
        return this;
    }

    public GgufWriter Add(TestTensor tensor, uint? type = null, ulong? offset = null, ulong[]? dimensions = null)
    {
        tensors.Add((tensor, type, offset, dimensions));
        return this;
    }

    public byte[] ToArray()
    {
        MemoryStream stream = new();
        BinaryWriter w = new(stream);
        w.Write(GgufFile.Magic);
        w.Write(Version);
        w.Write(TensorCount ?? (ulong)tensors.Count);
        w.Write(MetadataCount ?? (ulong)metadata.Count);
        foreach (var (key, write) in metadata)
        {
            WriteString(w, key);
            write(w);
        }

        ulong next = 0;
        foreach (var (tensor, type, offset, dimensions) in tensors)
        {
            WriteString(w, tensor.Name);
            ulong[] sizes = dimensions ?? [.. tensor.Shape.Reverse().Select(s => (ulong)s)];
            w.Write((uint)sizes.Length);
            foreach (ulong size in sizes) w.Write(size);
            w.Write(type ?? GgmlType(tensor.Type));
            w.Write(offset ?? next);
            next = Align(next + (ulong)tensor.Bytes.Length);
        }

        foreach (var (tensor, _, _, _) in tensors)
        {
            while (stream.Length % Alignment != 0) w.Write((byte)0);
            w.Write(tensor.Bytes);
        }

        w.Flush();
        return stream.ToArray();
    }

    public static uint GgmlType(TensorType type) => type switch
    {
        TensorType.F32 => 0, TensorType.F16 => 1, TensorType.Q4_0 => 2, TensorType.Q4_1 => 3, TensorType.Q5_0 => 6, TensorType.Q5_1 => 7,
        TensorType.Q8_0 => 8, TensorType.Q4_K => 12, TensorType.Q6_K => 14, TensorType.BF16 => 30,
        _ => throw new ArgumentOutOfRangeException(nameof(type)),
    };

    public static void WriteString(BinaryWriter w, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        w.Write((ulong)bytes.Length);
        w.Write(bytes);
    }

    ulong Align(ulong offset) => (offset + (ulong)Alignment - 1) / (ulong)Alignment * (ulong)Alignment;

    static uint TypeOf(object value) => value switch
    {
        byte => 0, sbyte => 1, ushort => 2, short => 3, uint => 4, int => 5, float => 6, bool => 7, string => 8, Array => 9, ulong => 10, long => 11,
        double => 12,
        _ => throw new ArgumentOutOfRangeException(nameof(value)),
    };

    static void WriteValue(BinaryWriter w, object value)
    {
        switch (value)
        {
            case byte v: w.Write(v); break;
            case sbyte v: w.Write(v); break;
            case ushort v: w.Write(v); break;
            case short v: w.Write(v); break;
            case uint v: w.Write(v); break;
            case int v: w.Write(v); break;
            case float v: w.Write(v); break;
            case bool v: w.Write(v); break;
            case string v: WriteString(w, v); break;
            case ulong v: w.Write(v); break;
            case long v: w.Write(v); break;
            case double v: w.Write(v); break;
            case Array v:
                w.Write(v.Length == 0 ? 5u : TypeOf(v.GetValue(0)!));
                w.Write((ulong)v.Length);
                foreach (object item in v) WriteValue(w, item);
                break;
        }
    }
}
