using System.Buffers.Binary;
using LongCtx.Engine.Files;

namespace LongCtx.Engine.Tests.Files;

/// <summary>
/// float32 to any stored type, written from ggml's block layouts and independent of <see cref="Dequantizer"/>. Simple rounding, none of
/// ggml's searches for better scales.
/// </summary>
internal static class Quantizer
{
    public static byte[] Quantize(TensorType type, ReadOnlySpan<float> x)
    {
        (int size, int bytes) = (type.BlockSize(), type.BlockBytes());
        byte[] result = new byte[x.Length / size * bytes];
        for (int block = 0; block < x.Length / size; block++)
        {
            ReadOnlySpan<float> source = x.Slice(block * size, size);
            Span<byte> target = result.AsSpan(block * bytes, bytes);
            switch (type)
            {
                case TensorType.F32: BinaryPrimitives.WriteSingleLittleEndian(target, source[0]); break;
                case TensorType.F16: WriteHalf(target, source[0]); break;
                case TensorType.BF16: WriteBrainFloat(target, source[0]); break;
                case TensorType.Q8_0: Q8_0(source, target); break;
                case TensorType.Q4_0 or TensorType.Q5_0: Symmetric(source, target, bits: type == TensorType.Q4_0 ? 4 : 5); break;
                case TensorType.Q4_1 or TensorType.Q5_1: Affine(source, target, bits: type == TensorType.Q4_1 ? 4 : 5); break;
                case TensorType.Q4_K: Q4_K(source, target); break;
                case TensorType.Q6_K: Q6_K(source, target); break;
                default: throw new ArgumentOutOfRangeException(nameof(type));
            }
        }

        return result;
    }

    static void Q8_0(ReadOnlySpan<float> x, Span<byte> block)
    {
        float d = WriteHalf(block, MaxMagnitude(x) / 127);
        for (int i = 0; i < 32; i++) block[2 + i] = (byte)(sbyte)Level(x[i], d, -127, 127);
    }

    /// <summary>y = d·(q - 2^(bits-1)); the extreme value, with its sign, maps to q = 0.</summary>
    static void Symmetric(ReadOnlySpan<float> x, Span<byte> block, int bits)
    {
        int half = 1 << bits - 1;
        float extreme = 0;
        foreach (float v in x) if (Math.Abs(v) > Math.Abs(extreme)) extreme = v;
        float d = WriteHalf(block, extreme / -half);
        int[] levels = new int[32];
        for (int i = 0; i < 32; i++) levels[i] = Level(x[i], d, -half, half - 1) + half;
        WriteLevels(levels, block[2..], bits);
    }

    /// <summary>y = d·q + m.</summary>
    static void Affine(ReadOnlySpan<float> x, Span<byte> block, int bits)
    {
        float min = x[0], max = x[0];
        foreach (float v in x) (min, max) = (Math.Min(min, v), Math.Max(max, v));
        int top = (1 << bits) - 1;
        float d = WriteHalf(block, (max - min) / top), m = WriteHalf(block[2..], min);
        int[] levels = new int[32];
        for (int i = 0; i < 32; i++) levels[i] = Level(x[i] - m, d, 0, top);
        WriteLevels(levels, block[4..], bits);
    }

    /// <summary>The fifth bits come first, bit i for element i; then the nibbles, elements 0-15 low, 16-31 high.</summary>
    static void WriteLevels(int[] levels, Span<byte> target, int bits)
    {
        if (bits == 5)
        {
            uint high = 0;
            for (int i = 0; i < 32; i++) high |= (uint)(levels[i] >> 4) << i;
            BinaryPrimitives.WriteUInt32LittleEndian(target, high);
            target = target[4..];
        }

        for (int i = 0; i < 16; i++) target[i] = (byte)(levels[i] & 15 | (levels[i + 16] & 15) << 4);
    }

    /// <summary>Per sub-block of 32: y = d·scale·q - dmin·min with min ≥ 0.</summary>
    static void Q4_K(ReadOnlySpan<float> x, Span<byte> block)
    {
        float[] scales = new float[8], minima = new float[8];
        for (int sub = 0; sub < 8; sub++)
        {
            float min = 0, max = float.MinValue;
            foreach (float v in x.Slice(sub * 32, 32)) (min, max) = (Math.Min(min, v), Math.Max(max, v));
            (scales[sub], minima[sub]) = (Math.Max(max - min, 0) / 15, -min);
        }

        float d = WriteHalf(block, scales.Max() / 63), dmin = WriteHalf(block[2..], minima.Max() / 63);
        for (int sub = 0; sub < 8; sub++)
        {
            int scale = Level(scales[sub], d, 0, 63), min = Level(minima[sub], dmin, 0, 63);
            Span<byte> packed = block.Slice(4, 12);
            if (sub < 4)
            {
                packed[sub] |= (byte)scale;
                packed[sub + 4] |= (byte)min;
            }
            else
            {
                packed[sub + 4] = (byte)(scale & 15 | (min & 15) << 4);
                packed[sub - 4] |= (byte)(scale >> 4 << 6);
                packed[sub] |= (byte)(min >> 4 << 6);
            }

            for (int i = 0; i < 32; i++)
            {
                int q = Level(x[sub * 32 + i] + dmin * min, d * scale, 0, 15);
                block[16 + sub / 2 * 32 + i] |= (byte)(sub % 2 == 0 ? q : q << 4);
            }
        }
    }

    static void Q6_K(ReadOnlySpan<float> x, Span<byte> block)
    {
        float[] scales = new float[16];
        for (int sub = 0; sub < 16; sub++) scales[sub] = MaxMagnitude(x.Slice(sub * 16, 16)) / 31;
        float d = WriteHalf(block[208..], scales.Max() / 127);
        for (int i = 0; i < 256; i++)
        {
            int scale = Level(scales[i / 16], d, -128, 127);
            block[192 + i / 16] = (byte)(sbyte)scale;
            int q = Level(x[i], d * scale, -32, 31) + 32, half = i / 128, inside = i % 128;
            block[half * 64 + inside % 64] |= (byte)((q & 15) << (inside >= 64 ? 4 : 0));
            block[128 + half * 32 + inside % 32] |= (byte)(q >> 4 << inside / 32 * 2);
        }
    }

    static int Level(float value, float step, int min, int max) => step == 0 ? 0 : (int)Math.Clamp(MathF.Round(value / step), min, max);

    static float MaxMagnitude(ReadOnlySpan<float> x)
    {
        float max = 0;
        foreach (float v in x) max = Math.Max(max, Math.Abs(v));
        return max;
    }

    /// <summary>Writes the nearest half and returns it, so that the levels fit the scale that is stored.</summary>
    static float WriteHalf(Span<byte> target, float value)
    {
        BinaryPrimitives.WriteHalfLittleEndian(target, (Half)value);
        return (float)(Half)value;
    }

    static void WriteBrainFloat(Span<byte> target, float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        BinaryPrimitives.WriteUInt16LittleEndian(target, (ushort)(bits + 0x7fff + (bits >> 16 & 1) >> 16)); // to nearest, ties to even
    }
}
