namespace LongCtx.Engine.Files;

/// <summary>A named tensor of a <see cref="ModelFile"/>.</summary>
/// <param name="Shape">Row-major, outermost first: [rows, columns]. Empty for a scalar.</param>
/// <param name="ByteLength">Bytes of the whole tensor, without padding.</param>
/// <param name="Offset">First byte, counted from the start of its file.</param>
/// <param name="Part">Which file of a sharded model; 0 where there is one file.</param>
public sealed record TensorInfo(string Name, TensorType Type, long[] Shape, long ByteLength, long Offset, int Part = 0)
{
    public long ElementCount
    {
        get
        {
            long count = 1;
            foreach (long size in Shape) count *= size;
            return count;
        }
    }

    /// <summary>Length of the innermost dimension: what one row has.</summary>
    public long Columns => Shape.Length == 0 ? 1 : Shape[^1];

    public long Rows => Columns == 0 ? 0 : ElementCount / Columns;

    /// <summary>Bytes of one row: rows follow each other without a gap.</summary>
    public long RowBytes => Type.ByteLength(Columns);

    public string ShapeText => Describe(Shape);

    public static string Describe(ReadOnlySpan<long> shape) => $"[{string.Join(", ", shape.ToArray())}]";
}

/// <summary>A tensor that is present but stored in a way this engine does not read; an error only for who needs it.</summary>
public sealed record UnsupportedTensor(string Name, string Type, long Offset);
