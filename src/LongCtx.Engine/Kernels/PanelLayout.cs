using LongCtx.Engine.Files;

namespace LongCtx.Engine.Kernels;

/// <summary>
/// How 16 weight rows lie in memory. The lanes of a kernel are output rows, so that a sum runs over columns in one fixed order, whatever
/// the number of tokens.
/// <code>
/// Integer types: a panel is a sequence of blocks of 32 columns; group g of a block is its columns 4g .. 4g+3.
///   nibbles  4 x 64 bytes   vector j, row r: 4 bytes, low halves = group j, high halves = group j + 4
///   bytes    8 x 64 bytes   vector g, row r: 4 bytes = group g
///   then the scales of the 16 rows; the weight is d * code + m
///     Q4_0, Q5_0, Q8_0   16 x f16 d                   m = -8 d, -16 d, -128 d (codes are the file's plus that offset)
///     Q4_1, Q5_1         16 x (f16 d, f16 m)
///     Q4_K               16 x int8 s, 16 x int8 -n    d = s * D, m = -n * M (exact in f32)
///     Q6_K               16 x int8 s of columns 0..15, 16 x int8 s of columns 16..31; d = s * D, m = -32 d
///   Before the blocks, a header with D and M of every 8 blocks: Q4_K 16 x (f16 D, f16 M), Q6_K 16 x f16 D.
///   wide     8 x 64 bytes, 16 x f32 d, 16 x f32 m (Q6_K: d of either half): what a panel is expanded to in the cache before many tokens
///            meet it; no header
/// Float types: columns padded with zeros to an even number
///   F32        64 bytes per column       row r: the weight
///   F16, BF16  64 bytes per two columns  row r: 32 bits, low half = even column, high half = odd column
/// </code>
/// </summary>
internal static class PanelLayout
{
    public const int Rows = 16;
    public const int BlockColumns = 32;
    public const int NibbleBytes = 256, ByteBytes = 512;
    public const int WideBlockBytes = ByteBytes + 128;

    public static bool IsFloat(this TensorType type) => type is TensorType.F32 or TensorType.F16 or TensorType.BF16;

    public static bool HasNibbles(this TensorType type) => type is TensorType.Q4_0 or TensorType.Q4_1 or TensorType.Q4_K;

    /// <summary>Bytes of a block of 16 rows x 32 columns.</summary>
    public static int PackedBlockBytes(this TensorType type) => type switch
    {
        TensorType.Q4_0 => NibbleBytes + 32,
        TensorType.Q4_1 => NibbleBytes + 64,
        TensorType.Q4_K => NibbleBytes + 32,
        TensorType.Q5_0 or TensorType.Q8_0 => ByteBytes + 32,
        TensorType.Q5_1 => ByteBytes + 64,
        TensorType.Q6_K => ByteBytes + 32,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "not an integer type"),
    };

    /// <summary>Bytes before the blocks of a panel; whole cache lines.</summary>
    public static int HeaderBytes(this TensorType type, int cols) => type switch
    {
        TensorType.Q4_K => cols / 256 * 64,
        TensorType.Q6_K => (cols / 256 * 32 + 63) & ~63,
        _ => 0,
    };

    /// <summary>Bytes of a whole panel of 16 rows.</summary>
    public static nint PanelBytes(this TensorType type, int cols) => type switch
    {
        TensorType.F32 => (nint)PaddedColumns(cols) * 64,
        TensorType.F16 or TensorType.BF16 => (nint)PaddedColumns(cols) * 32,
        _ => type.HeaderBytes(cols) + (nint)(cols / BlockColumns) * type.PackedBlockBytes(),
    };

    /// <summary>Columns of the float form.</summary>
    public static int PaddedColumns(int cols) => (cols + 1) & ~1;
}
