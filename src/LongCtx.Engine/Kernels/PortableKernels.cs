using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using LongCtx.Engine.Files;

namespace LongCtx.Engine.Kernels;

/// <summary>
/// Vector128 of any machine, four rows per register. Every panel is widened by plain code first, so there is one kernel for all types.
/// </summary>
internal static unsafe class PortableKernels
{
    public static void Run(TensorType type, in IntRange range)
    {
        bool halves = type == TensorType.Q6_K;
        for (int p = 0; p < range.PanelCount; p++)
        {
            byte* panel = range.Panels + p * range.PanelBytes;
            Widen(type, panel, panel + range.HeaderBytes, range.Blocks, range.Scratch);
            int rows = Math.Min(PanelLayout.Rows, range.Rows - p * PanelLayout.Rows);
            for (int i = 0; i < range.TokenCount; i++)
            {
                int token = range.FirstToken + i;
                byte* x = range.X + token / Activations.GroupTokens * range.XGroupBytes + 4 * (token % Activations.GroupTokens);
                Token(range.Scratch, range.Blocks, x, halves, range.Y + i * range.YStride + p * PanelLayout.Rows, rows, range.Accumulate);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Token(byte* panel, int blocks, byte* x, bool halves, float* y, int rows, bool accumulate)
    {
        float* sums = stackalloc float[PanelLayout.Rows];
        for (int quarter = 0; quarter < 4; quarter++)
        {
            byte* block = panel + 16 * quarter, record = x;
            Vector128<float> sum = default;
            for (int b = 0; b < blocks; b++, block += PanelLayout.WideBlockBytes, record += Activations.RecordBytes)
            {
                Vector128<int> low = Dot(block, record), high = Dot(block + 256, record + 64);
                Vector128<float> d = Vector128.Load((float*)(block + PanelLayout.ByteBytes)), m = Vector128.Load((float*)(block + PanelLayout.ByteBytes + 64));
                Vector128<float> dx = Vector128.Create(*(float*)(record + Activations.ScaleOffset));
                if (halves)
                {
                    sum = Vector128.FusedMultiplyAdd(Vector128.ConvertToSingle(low), d * dx, sum);
                    sum = Vector128.FusedMultiplyAdd(Vector128.ConvertToSingle(high), m * dx, sum);
                    sum = Vector128.FusedMultiplyAdd(d * -32f, Vector128.Create(*(float*)(record + Activations.LowSumOffset)), sum);
                    sum = Vector128.FusedMultiplyAdd(m * -32f, Vector128.Create(*(float*)(record + Activations.HighSumOffset)), sum);
                }
                else
                {
                    sum = Vector128.FusedMultiplyAdd(Vector128.ConvertToSingle(low + high), d * dx, sum);
                    sum = Vector128.FusedMultiplyAdd(m, Vector128.Create(*(float*)(record + Activations.SumOffset)), sum);
                }
            }
            sum.Store(sums + 4 * quarter);
        }
        for (int r = 0; r < rows; r++) y[r] = accumulate ? y[r] + sums[r] : sums[r];
    }

    public static void Run(TensorType type, in FloatRange range)
    {
        for (int p = 0; p < range.PanelCount; p++)
        {
            WidenFloats(type, range.Panels + p * range.PanelBytes, range.Pairs, (float*)range.Scratch);
            int rows = Math.Min(PanelLayout.Rows, range.Rows - p * PanelLayout.Rows);
            for (int i = 0; i < range.TokenCount; i++)
            {
                int token = range.FirstToken + i;
                byte* x = range.X + token / Activations.GroupTokens * range.XGroupBytes + 4 * (token % Activations.GroupTokens);
                Token((float*)range.Scratch, 2 * range.Pairs, x, range.Y + i * range.YStride + p * PanelLayout.Rows, rows, range.Accumulate);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Token(float* panel, int cols, byte* x, float* y, int rows, bool accumulate)
    {
        float* sums = stackalloc float[PanelLayout.Rows];
        Vector128<float> a = default, b = default, c = default, d = default;
        for (int k = 0; k < cols; k++, panel += PanelLayout.Rows)
        {
            Vector128<float> xk = Vector128.Create(*(float*)(x + 16 * k));
            a = Vector128.FusedMultiplyAdd(Vector128.Load(panel), xk, a);
            b = Vector128.FusedMultiplyAdd(Vector128.Load(panel + 4), xk, b);
            c = Vector128.FusedMultiplyAdd(Vector128.Load(panel + 8), xk, c);
            d = Vector128.FusedMultiplyAdd(Vector128.Load(panel + 12), xk, d);
        }
        a.Store(sums);
        b.Store(sums + 4);
        c.Store(sums + 8);
        d.Store(sums + 12);
        for (int r = 0; r < rows; r++) y[r] = accumulate ? y[r] + sums[r] : sums[r];
    }

    static void WidenFloats(TensorType type, byte* panel, int pairs, float* wide)
    {
        for (int k = 0; k < 2 * pairs; k++)
            for (int r = 0; r < PanelLayout.Rows; r++)
            {
                ushort half = ((ushort*)panel)[k / 2 * 32 + 2 * r + k % 2];
                wide[k * PanelLayout.Rows + r] = type switch
                {
                    TensorType.F32 => ((float*)panel)[k * PanelLayout.Rows + r],
                    TensorType.BF16 => BitConverter.UInt32BitsToSingle((uint)half << 16),
                    _ => (float)BitConverter.UInt16BitsToHalf(half),
                };
            }
    }

    /// <summary>16 columns of four rows. Products of a code below 256 and an int8 fit 16 bits: 255 * 127 = 32385.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector128<int> Dot(byte* codes, byte* x)
    {
        Vector128<int> sum = default;
        for (int g = 0; g < 4; g++)
        {
            Vector128<short> w = Vector128.Load((short*)(codes + 64 * g));
            sbyte* q = (sbyte*)(x + 16 * g);
            Vector128<short> even = Vector128.Create((q[0] & 0xFFFF) | (q[2] << 16)).AsInt16(), odd = Vector128.Create((q[1] & 0xFFFF) | (q[3] << 16)).AsInt16();
            Vector128<int> p = ((w & Vector128.Create((short)255)) * even).AsInt32(), r = ((w >>> 8) * odd).AsInt32();
            sum += (p << 16 >> 16) + (p >> 16) + (r << 16 >> 16) + (r >> 16);
        }
        return sum;
    }

    /// <summary>Expands a panel to wide blocks (<see cref="PanelLayout"/>).</summary>
    static void Widen(TensorType type, byte* header, byte* panel, int blocks, byte* wide)
    {
        bool nibbles = type.HasNibbles();
        for (int b = 0; b < blocks; b++, panel += type.PackedBlockBytes(), wide += PanelLayout.WideBlockBytes)
        {
            for (int i = 0; i < (nibbles ? 256 : 512); i++)
            {
                wide[i] = nibbles ? (byte)(panel[i] & 15) : panel[i];
                if (nibbles) wide[i + 256] = (byte)(panel[i] >> 4);
            }
            byte* scales = panel + (nibbles ? PanelLayout.NibbleBytes : PanelLayout.ByteBytes);
            float* d = (float*)(wide + PanelLayout.ByteBytes), m = d + PanelLayout.Rows;
            for (int r = 0; r < PanelLayout.Rows; r++)
                (d[r], m[r]) = type switch
                {
                    TensorType.Q4_K => (Half(header, b / 8 * 32 + 2 * r) * (sbyte)scales[r], Half(header, b / 8 * 32 + 2 * r + 1) * (sbyte)scales[r + 16]),
                    TensorType.Q6_K => (Half(header, b / 8 * 16 + r) * (sbyte)scales[r], Half(header, b / 8 * 16 + r) * (sbyte)scales[r + 16]),
                    TensorType.Q4_1 or TensorType.Q5_1 => (Half(scales, 2 * r), Half(scales, 2 * r + 1)),
                    TensorType.Q4_0 => (Half(scales, r), -8f * Half(scales, r)),
                    TensorType.Q5_0 => (Half(scales, r), -16f * Half(scales, r)),
                    TensorType.Q8_0 => (Half(scales, r), -128f * Half(scales, r)),
                    _ => throw new ArgumentOutOfRangeException(nameof(type), type, "not an integer type that is widened"),
                };
        }
    }

    static float Half(byte* scales, int index) => (float)BitConverter.UInt16BitsToHalf(((ushort*)scales)[index]);
}
