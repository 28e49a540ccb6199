using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace LongCtx.Engine.Files;

/// <summary>
/// Any stored type to float32: the reference that kernels are measured against, and the row look-up of embeddings. Layouts are ggml's
/// (ggml-quants.c). Whole blocks only; source and destination must match in length.
/// </summary>
public static class Dequantizer
{
    public static void ToFloat32(TensorType type, ReadOnlySpan<byte> source, Span<float> destination)
    {
        if (destination.Length % type.BlockSize() != 0 || source.Length != type.ByteLength(destination.Length))
            throw new ArgumentException($"{source.Length} bytes of {type} do not hold {destination.Length} elements", nameof(source));
        if (type == TensorType.F32)
        {
            source.CopyTo(MemoryMarshal.AsBytes(destination));
            return;
        }

        if (type is TensorType.F16 or TensorType.BF16)
        {
            ReadOnlySpan<ushort> halves = MemoryMarshal.Cast<byte, ushort>(source);
            if (type == TensorType.F16) F16(halves, destination);
            else BF16(halves, destination);
            return;
        }

        (int size, int bytes) = (type.BlockSize(), type.BlockBytes());
        for (; destination.Length > 0; source = source[bytes..], destination = destination[size..])
        {
            ReadOnlySpan<byte> block = source[..bytes];
            Span<float> y = destination[..size];
            switch (type)
            {
                case TensorType.Q8_0: Q8_0(block, y); break;
                case TensorType.Q4_0: Q4_0(block, y); break;
                case TensorType.Q4_1: Q4_1(block, y); break;
                case TensorType.Q5_0: Q5_0(block, y); break;
                case TensorType.Q5_1: Q5_1(block, y); break;
                case TensorType.Q4_K: Q4_K(block, y); break;
                case TensorType.Q6_K: Q6_K(block, y); break;
                default: throw new ArgumentOutOfRangeException(nameof(type));
            }
        }
    }

    /// <summary>Exact: exponent and mantissa move into place and 2^112 corrects the bias, for subnormals too; infinity and NaN keep theirs.</summary>
    static void F16(ReadOnlySpan<ushort> x, Span<float> y)
    {
        Vector256<float> bias = Vector256.Create(BitConverter.UInt32BitsToSingle((127 + 112) << 23));
        int i = 0;
        for (; i + 16 <= x.Length; i += 16)
        {
            var (low, high) = Vector256.Widen(Vector256.Create(x[i..]));
            Widen(low).CopyTo(y[i..]);
            Widen(high).CopyTo(y[(i + 8)..]);
        }

        for (; i < x.Length; i++) y[i] = (float)BitConverter.UInt16BitsToHalf(x[i]);

        Vector256<float> Widen(Vector256<uint> half)
        {
            Vector256<uint> magnitude = (half & Vector256.Create(0x7fffu)) << 13;
            Vector256<uint> special = Vector256.GreaterThanOrEqual(magnitude, Vector256.Create(0x7c00u << 13)) & Vector256.Create(0x7f80_0000u);
            Vector256<uint> sign = (half & Vector256.Create(0x8000u)) << 16;
            return ((magnitude.AsSingle() * bias).AsUInt32() | special | sign).AsSingle();
        }
    }

    /// <summary>The upper half of a float32.</summary>
    static void BF16(ReadOnlySpan<ushort> x, Span<float> y)
    {
        Span<uint> bits = MemoryMarshal.Cast<float, uint>(y);
        int i = 0;
        for (; i + 16 <= x.Length; i += 16)
        {
            var (low, high) = Vector256.Widen(Vector256.Create(x[i..]));
            (low << 16).CopyTo(bits[i..]);
            (high << 16).CopyTo(bits[(i + 8)..]);
        }

        for (; i < x.Length; i++) bits[i] = (uint)x[i] << 16;
    }

    static void Q8_0(ReadOnlySpan<byte> block, Span<float> y)
    {
        Vector256<float> d = Vector256.Create(HalfAt(block, 0));
        ReadOnlySpan<sbyte> q = MemoryMarshal.Cast<byte, sbyte>(block[2..]);
        for (int i = 0; i < 32; i += 16)
        {
            var (low, high) = Vector128.Widen(Vector128.Create(q[i..]));
            var (a, b) = Vector256.Widen(Vector256.Create(low, high));
            (Vector256.ConvertToSingle(a) * d).CopyTo(y[i..]);
            (Vector256.ConvertToSingle(b) * d).CopyTo(y[(i + 8)..]);
        }
    }

    static void Q4_0(ReadOnlySpan<byte> block, Span<float> y)
    {
        float d = HalfAt(block, 0);
        ReadOnlySpan<byte> q = block[2..];
        for (int i = 0; i < 16; i++)
        {
            y[i] = ((q[i] & 15) - 8) * d;
            y[i + 16] = ((q[i] >> 4) - 8) * d;
        }
    }

    static void Q4_1(ReadOnlySpan<byte> block, Span<float> y)
    {
        (float d, float m) = (HalfAt(block, 0), HalfAt(block, 2));
        ReadOnlySpan<byte> q = block[4..];
        for (int i = 0; i < 16; i++)
        {
            y[i] = (q[i] & 15) * d + m;
            y[i + 16] = (q[i] >> 4) * d + m;
        }
    }

    static void Q5_0(ReadOnlySpan<byte> block, Span<float> y)
    {
        float d = HalfAt(block, 0);
        uint high = BinaryPrimitives.ReadUInt32LittleEndian(block[2..]);
        ReadOnlySpan<byte> q = block[6..];
        for (int i = 0; i < 16; i++)
        {
            y[i] = (Five(q[i] & 15, high, i) - 16) * d;
            y[i + 16] = (Five(q[i] >> 4, high, i + 16) - 16) * d;
        }
    }

    static void Q5_1(ReadOnlySpan<byte> block, Span<float> y)
    {
        (float d, float m) = (HalfAt(block, 0), HalfAt(block, 2));
        uint high = BinaryPrimitives.ReadUInt32LittleEndian(block[4..]);
        ReadOnlySpan<byte> q = block[8..];
        for (int i = 0; i < 16; i++)
        {
            y[i] = Five(q[i] & 15, high, i) * d + m;
            y[i + 16] = Five(q[i] >> 4, high, i + 16) * d + m;
        }
    }

    static int Five(int nibble, uint high, int i) => nibble | (int)(high >> i & 1) << 4;

    /// <summary>Eight sub-blocks of 32: y = d·scale·q - dmin·min; two sub-blocks share 32 bytes, the first in the low nibbles.</summary>
    static void Q4_K(ReadOnlySpan<byte> block, Span<float> y)
    {
        (float d, float dmin) = (HalfAt(block, 0), HalfAt(block, 2));
        ReadOnlySpan<byte> packed = block.Slice(4, 12);
        for (int sub = 0; sub < 8; sub++)
        {
            (int scale, int min) = ScaleAndMin(packed, sub);
            (float a, float b) = (d * scale, dmin * min);
            ReadOnlySpan<byte> q = block.Slice(16 + sub / 2 * 32, 32);
            int shift = sub % 2 * 4;
            for (int i = 0; i < 32; i++) y[sub * 32 + i] = a * (q[i] >> shift & 15) - b;
        }
    }

    /// <summary>6-bit scales and minima: the first four in the low bits of bytes 0-3 and 4-7, the others split over 8-11 and the high bits.</summary>
    static (int Scale, int Min) ScaleAndMin(ReadOnlySpan<byte> packed, int sub) => sub < 4
        ? (packed[sub] & 63, packed[sub + 4] & 63)
        : (packed[sub + 4] & 15 | packed[sub - 4] >> 6 << 4, packed[sub + 4] >> 4 | packed[sub] >> 6 << 4);

    /// <summary>Two halves of 128; in each, elements l, l+32, l+64, l+96 share byte l of the high bits; one scale per 16 elements.</summary>
    static void Q6_K(ReadOnlySpan<byte> block, Span<float> y)
    {
        ReadOnlySpan<sbyte> scales = MemoryMarshal.Cast<byte, sbyte>(block.Slice(192, 16));
        float d = HalfAt(block, 208);
        for (int half = 0; half < 2; half++)
        {
            ReadOnlySpan<byte> low = block.Slice(half * 64, 64);
            ReadOnlySpan<byte> high = block.Slice(128 + half * 32, 32);
            for (int i = 0; i < 128; i++)
            {
                int nibble = low[i % 64] >> i / 64 * 4 & 15;
                int q = (nibble | (high[i % 32] >> i / 32 * 2 & 3) << 4) - 32;
                y[half * 128 + i] = d * scales[half * 8 + i / 16] * q;
            }
        }
    }

    static float HalfAt(ReadOnlySpan<byte> block, int offset) => (float)BinaryPrimitives.ReadHalfLittleEndian(block[offset..]);
}
