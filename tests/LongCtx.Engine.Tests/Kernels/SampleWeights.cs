using LongCtx.Engine.Files;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Tests.Kernels;

/// <summary>
/// Random rows of one type as a file would hold them, and their values element by element, written from ggml's definition of the types and
/// not from the packing code. A value is <see cref="Scaled"/> + <see cref="Offset"/> (the minimum, or minus the middle of the codes).
/// </summary>
internal sealed unsafe class SampleWeights : IDisposable
{
    readonly NativeBuffer _data;

    public SampleWeights(TensorType type, int rows, int cols, int seed)
    {
        (Type, Rows, Cols) = (type, rows, cols);
        Scaled = new double[rows, cols];
        Offset = new double[rows, cols];
        _data = new NativeBuffer((nuint)(rows * type.ByteLength(cols)));
        var random = new Random(seed);
        int size = type.BlockSize(), bytes = type.BlockBytes();
        for (int r = 0; r < rows; r++)
            for (int b = 0; b < cols / size; b++)
            {
                byte* block = _data.Pointer + r * type.ByteLength(cols) + b * bytes;
                random.NextBytes(new Span<byte>(block, bytes));
                SetScales(type, block, random);
                for (int i = 0; i < size; i++) (Scaled[r, b * size + i], Offset[r, b * size + i]) = Value(type, block, i);
            }
    }

    public TensorType Type { get; }

    public int Rows { get; }

    public int Cols { get; }

    public double[,] Scaled { get; }

    public double[,] Offset { get; }

    public RowSource Source(int[]? order = null) => new(Type, _data.Pointer, Rows, Cols, order);

    public void Dispose() => _data.Dispose();

    /// <summary>Plausible numbers of either sign where random bytes would give infinities; now and then zero or a subnormal half.</summary>
    static void SetScales(TensorType type, byte* block, Random random)
    {
        ushort Half() => BitConverter.HalfToUInt16Bits((Half)(random.Next(20) switch
        {
            0 => 0,
            1 => 3e-5 * random.NextDouble(),
            _ => (random.NextDouble() - 0.5) * 0.02,
        }));
        switch (type)
        {
            case TensorType.F32: *(float*)block = (float)(random.NextDouble() - 0.5); break;
            case TensorType.F16: *(ushort*)block = Half(); break;
            case TensorType.BF16: *(ushort*)block = (ushort)(BitConverter.SingleToUInt32Bits((float)(random.NextDouble() - 0.5)) >> 16); break;
            case TensorType.Q6_K: *(ushort*)(block + 208) = Half(); break;
            case TensorType.Q4_1 or TensorType.Q5_1 or TensorType.Q4_K: (*(ushort*)block, *(ushort*)(block + 2)) = (Half(), Half()); break;
            default: *(ushort*)block = Half(); break;
        }
    }

    static (double Scaled, double Offset) Value(TensorType type, byte* block, int i)
    {
        double d = HalfAt(block);
        int Nibble(byte* nibbles) => i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
        int Fifth(byte* bits) => (bits[i / 8] >> (i % 8) & 1) * 16;
        switch (type)
        {
            case TensorType.F32: return (*(float*)block, 0);
            case TensorType.F16: return (d, 0);
            case TensorType.BF16: return (BitConverter.UInt32BitsToSingle((uint)*(ushort*)block << 16), 0);
            case TensorType.Q8_0: return (d * ((sbyte*)block)[2 + i], 0);
            case TensorType.Q4_0: return (d * Nibble(block + 2), -8 * d);
            case TensorType.Q4_1: return (d * Nibble(block + 4), HalfAt(block + 2));
            case TensorType.Q5_0: return (d * (Nibble(block + 6) + Fifth(block + 2)), -16 * d);
            case TensorType.Q5_1: return (d * (Nibble(block + 8) + Fifth(block + 4)), HalfAt(block + 2));
            case TensorType.Q4_K:
            {
                int sub = i / 32, at = sub / 2 * 32 + i % 32;
                int code = sub % 2 == 0 ? block[16 + at] & 15 : block[16 + at] >> 4;
                byte* s = block + 4;
                int scale = sub < 4 ? s[sub] & 63 : (s[sub + 4] & 15) + (s[sub - 4] >> 6) * 16;
                int minimum = sub < 4 ? s[sub + 4] & 63 : (s[sub + 4] >> 4) + (s[sub] >> 6) * 16;
                return (d * scale * code, -HalfAt(block + 2) * minimum);
            }
            default:
            {
                int half = i / 128, e = i % 128;
                int low = block[half * 64 + e % 64], high = block[128 + half * 32 + e % 32] >> (e / 32 * 2) & 3;
                int code = (e < 64 ? low & 15 : low >> 4) + 16 * high;
                double scale = HalfAt(block + 208) * ((sbyte*)block)[192 + i / 16];
                return (scale * code, -32 * scale);
            }
        }
    }

    static double HalfAt(byte* p) => (double)BitConverter.UInt16BitsToHalf(*(ushort*)p);
}
