using LongCtx.Engine.Files;

namespace LongCtx.Engine.Kernels;

/// <summary>
/// Rows of a tensor as they lie in a model file. Output row r is row <c>order[r]</c> of the source (r without an order), which undoes the
/// row permutation of q and k in GGUF files of Llama models.
/// </summary>
internal readonly unsafe struct RowSource(TensorType type, byte* data, int rows, int cols, int[]? order = null)
{
    public TensorType Type { get; } = type;

    public byte* Data { get; } = data;

    public int Rows { get; } = rows;

    public int Cols { get; } = cols;

    public int[]? Order { get; } = order;

    public long RowBytes => Type.ByteLength(Cols);

    public byte* Row(int row) => Data + (Order is null ? row : Order[row]) * RowBytes;
}
