namespace LongCtx.Engine.Files;

/// <summary>How the numbers of a tensor are stored; the quantised layouts are ggml's.</summary>
public enum TensorType { F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K }

public static class TensorTypes
{
    public static readonly string Names = string.Join(", ", Enum.GetNames<TensorType>());

    /// <summary>Elements that share one block; a row is a whole number of blocks.</summary>
    public static int BlockSize(this TensorType type) => type switch
    {
        TensorType.F32 or TensorType.F16 or TensorType.BF16 => 1,
        TensorType.Q4_K or TensorType.Q6_K => 256,
        _ => 32,
    };

    public static int BlockBytes(this TensorType type) => type switch
    {
        TensorType.F32 => 4,
        TensorType.F16 or TensorType.BF16 => 2,
        TensorType.Q8_0 => 2 + 32,                  // f16 d, 32 int8
        TensorType.Q4_0 => 2 + 16,                  // f16 d, 32 nibbles
        TensorType.Q4_1 => 2 + 2 + 16,              // f16 d, f16 m, 32 nibbles
        TensorType.Q5_0 => 2 + 4 + 16,              // f16 d, 32 high bits, 32 nibbles
        TensorType.Q5_1 => 2 + 2 + 4 + 16,          // f16 d, f16 m, 32 high bits, 32 nibbles
        TensorType.Q4_K => 2 + 2 + 12 + 128,        // f16 d, f16 dmin, 8 scales and 8 minima of 6 bits, 256 nibbles
        TensorType.Q6_K => 128 + 64 + 16 + 2,       // 256 nibbles, 256 high bit pairs, 16 int8 scales, f16 d
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "not a tensor type"),
    };

    /// <summary>Bytes of <paramref name="elements"/> consecutive elements, a multiple of the block size.</summary>
    public static long ByteLength(this TensorType type, long elements) => checked(elements / type.BlockSize() * type.BlockBytes());
}
