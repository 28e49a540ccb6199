namespace LongCtx.Engine.Files;

public sealed partial class GgufFile
{
    const int MinTensorEntryBytes = 8 + 1 + 4 + 8 + 4 + 8; // length, a name of one byte, dimension count, one dimension, type, offset

    static void ReadTensorTable(
        ByteCursor cursor, long fileLength, int count, long alignment,
        Dictionary<string, TensorInfo> tensors, Dictionary<string, UnsupportedTensor> unsupported)
    {
        List<(string Name, long[] Shape, uint Type, ulong Offset, long EntryOffset)> table = [];
        HashSet<string> names = [];
        for (int i = 0; i < count; i++)
        {
            long entry = cursor.Position;
            string name = cursor.ReadString(NameBytesMax, "a tensor name");
            if (name.Length == 0) throw cursor.Fail(entry, "a tensor name is empty");
            if (!names.Add(name)) throw cursor.Fail(entry, $"tensor '{name}' occurs twice");
            long[] shape = ReadShape(cursor, name);
            table.Add((name, shape, cursor.Read<uint>("a tensor type"), cursor.Read<ulong>("a tensor offset"), entry));
        }

        long dataStart = (cursor.Position + alignment - 1) / alignment * alignment;
        long dataLength = Math.Max(0, fileLength - dataStart);
        foreach (var (name, shape, type, offset, entry) in table)
        {
            if (offset % (ulong)alignment != 0)
                throw cursor.Fail(entry, $"tensor '{name}' is at offset {offset}, which is not a multiple of the alignment {alignment}");
            if (offset >= (ulong)dataLength)
                throw cursor.Fail(entry, $"tensor '{name}' begins at offset {offset} of only {dataLength} bytes of data: the file is truncated or damaged");
            if (KnownType(type) is not { } known)
            {
                unsupported.Add(name, new(name, TypeName(type), entry));
                continue;
            }

            long bytes = ByteLength(cursor, entry, name, known, shape);
            if (bytes > dataLength - (long)offset)
                throw cursor.Fail(entry, $"tensor '{name}' needs {bytes} bytes at offset {offset} of only {dataLength} bytes of data: the file is truncated or damaged");
            tensors.Add(name, new(name, known, shape, bytes, dataStart + (long)offset));
        }

        if (TensorLayout.FindOverlap(tensors.Values) is var (first, second))
            throw cursor.Fail(second.Offset, $"tensors '{first.Name}' and '{second.Name}' overlap");
    }

    /// <summary>The file lists the innermost dimension first; <see cref="TensorInfo.Shape"/> the outermost.</summary>
    static long[] ReadShape(ByteCursor cursor, string name)
    {
        uint dimensions = cursor.Read<uint>("a dimension count");
        if (dimensions is < 1 or > DimensionCountMax)
            throw cursor.Fail(cursor.Position - 4, $"tensor '{name}' has {dimensions} dimensions; 1 to {DimensionCountMax} are allowed");
        long[] shape = new long[dimensions];
        for (int i = shape.Length - 1; i >= 0; i--)
        {
            ulong size = cursor.Read<ulong>("a dimension");
            if (size is < 1 or > long.MaxValue) throw cursor.Fail(cursor.Position - 8, $"tensor '{name}' has a dimension of {size}");
            shape[i] = (long)size;
        }

        return shape;
    }

    static long ByteLength(ByteCursor cursor, long entry, string name, TensorType type, long[] shape)
    {
        if (shape[^1] % type.BlockSize() != 0)
            throw cursor.Fail(entry, $"tensor '{name}' has rows of {shape[^1]} elements, which is not a multiple of the {type} block of {type.BlockSize()}");
        return TensorLayout.TryByteLength(type, shape, out long bytes)
            ? bytes
            : throw cursor.Fail(entry, $"tensor '{name}' of shape {TensorInfo.Describe(shape)} is too large");
    }

    static TensorType? KnownType(uint type) => type switch
    {
        0 => TensorType.F32,
        1 => TensorType.F16,
        2 => TensorType.Q4_0,
        3 => TensorType.Q4_1,
        6 => TensorType.Q5_0,
        7 => TensorType.Q5_1,
        8 => TensorType.Q8_0,
        12 => TensorType.Q4_K,
        14 => TensorType.Q6_K,
        30 => TensorType.BF16,
        _ => null,
    };

    /// <summary>ggml's names, for the message that refuses a type.</summary>
    static string TypeName(uint type) => type switch
    {
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        13 => "Q5_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => $"ggml type {type}",
    };
}
