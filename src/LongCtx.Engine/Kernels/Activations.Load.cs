using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Kernels;

/// <summary>
/// Four rows of 32 numbers are quantised at once: a block of four tokens, or, for single tokens, four blocks of one. The formula is the same for
/// every path: with max = max|x|, d = max / 127 and the code is x * (127 / max) rounded to the nearest integer, ties to even.
/// </summary>
internal sealed unsafe partial class Activations
{
    const float SmallestMaximum = 1e-30f; // below it 127 / max leaves the range of float; such a block counts as zero

    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits of a float.
    const float RoundingBias = 12582912f;

    /// <summary>Takes <paramref name="count"/> rows (x + i * stride) as tokens firstToken, ... Different tokens may be loaded by different threads.</summary>
    public void Load(float* x, nint stride, int firstToken, int count) => Load(x, stride, firstToken, count, 0, Cols);

    /// <summary>Takes some columns of some tokens: x[i * stride + k] is column firstColumn + k. Quantised, the columns are whole blocks of 32.</summary>
    public void Load(float* x, nint stride, int firstToken, int count, int firstColumn, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstToken);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)firstToken + count, Capacity, nameof(count));
        ArgumentOutOfRangeException.ThrowIfNegative(firstColumn);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)firstColumn + columns, Cols, nameof(columns));
        if (_codes is not null && (firstColumn | columns) % PanelLayout.BlockColumns != 0)
            throw new ArgumentException($"Columns {firstColumn} to {firstColumn + columns} are not whole blocks of 32.", nameof(columns));
        int end = firstToken + count, tokens, blocks = columns / PanelLayout.BlockColumns;
        nint skippedRecords = (nint)(firstColumn / PanelLayout.BlockColumns) * RecordBytes;
        for (int token = firstToken; token < end; token += tokens, x += tokens * stride)
        {
            nint group = token / GroupTokens, slot = token % GroupTokens;
            tokens = slot == 0 && end - token >= GroupTokens ? GroupTokens : 1;
            if (_floats is not null)
                for (int i = 0; i < tokens; i++) Spread(x + i * stride, columns, (float*)(Floats + group * FloatGroupBytes) + 4 * firstColumn + slot + i);
            if (_codes is null) continue;
            byte* records = Codes + group * CodeGroupBytes + skippedRecords + 4 * slot;
            if (!Avx2.IsSupported)
                for (int i = 0; i < tokens; i++) Quantize(x + i * stride, blocks, records + 4 * i);
            else if (tokens == GroupTokens) QuantizeGroup(x, stride, blocks, records);
            else if (blocks < 4) Quantize(x, blocks, records);
            else QuantizeToken(x, blocks, records);
        }
        GC.KeepAlive(this);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Spread(float* x, int cols, float* target)
    {
        for (int k = 0; k < cols; k++) target[4 * k] = x[k];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void QuantizeGroup(float* x, nint stride, int blocks, byte* record)
    {
        for (; blocks > 0; blocks--, x += PanelLayout.BlockColumns, record += RecordBytes)
        {
            Quantize4(x, x + stride, x + 2 * stride, x + 3 * stride,
                out Vector256<uint> c0, out Vector256<uint> c1, out Vector256<uint> c2, out Vector256<uint> c3, out Vector128<float> d,
                out Vector128<float> lowSums, out Vector128<float> highSums, out Vector128<float> sums);

            // Four rows of eight words to eight groups of four words: unpacking works within halves, so g and g + 4 come out together.
            Vector256<ulong> low01 = Avx2.UnpackLow(c0, c1).AsUInt64(), low23 = Avx2.UnpackLow(c2, c3).AsUInt64();
            Vector256<ulong> high01 = Avx2.UnpackHigh(c0, c1).AsUInt64(), high23 = Avx2.UnpackHigh(c2, c3).AsUInt64();
            StoreGroups(record, 0, Avx2.UnpackLow(low01, low23));
            StoreGroups(record, 1, Avx2.UnpackHigh(low01, low23));
            StoreGroups(record, 2, Avx2.UnpackLow(high01, high23));
            StoreGroups(record, 3, Avx2.UnpackHigh(high01, high23));
            d.Store((float*)(record + ScaleOffset));
            sums.Store((float*)(record + SumOffset));
            lowSums.Store((float*)(record + LowSumOffset));
            highSums.Store((float*)(record + HighSumOffset));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void StoreGroups(byte* record, int g, Vector256<ulong> words)
    {
        words.GetLower().Store((ulong*)(record + 16 * g));
        words.GetUpper().Store((ulong*)(record + 16 * g + 64));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void QuantizeToken(float* x, int blocks, byte* records)
    {
        for (int b = 0; b < blocks; b += 4)
        {
            int from = Math.Min(b, blocks - 4); // the last four may overlap the four before and repeat their result
            float* row = x + from * PanelLayout.BlockColumns;
            byte* record = records + from * RecordBytes;
            Quantize4(row, row + 32, row + 64, row + 96,
                out Vector256<uint> c0, out Vector256<uint> c1, out Vector256<uint> c2, out Vector256<uint> c3, out Vector128<float> d,
                out Vector128<float> lowSums, out Vector128<float> highSums, out Vector128<float> sums);
            StoreRecord(record, c0, d, lowSums, highSums, sums, 0);
            StoreRecord(record + RecordBytes, c1, d, lowSums, highSums, sums, 1);
            StoreRecord(record + 2 * RecordBytes, c2, d, lowSums, highSums, sums, 2);
            StoreRecord(record + 3 * RecordBytes, c3, d, lowSums, highSums, sums, 3);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void StoreRecord(
        byte* record, Vector256<uint> codes, Vector128<float> d, Vector128<float> lowSums, Vector128<float> highSums, Vector128<float> sums, int i)
    {
        uint* words = (uint*)record;
        words[0] = codes[0];
        words[4] = codes[1];
        words[8] = codes[2];
        words[12] = codes[3];
        words[16] = codes[4];
        words[20] = codes[5];
        words[24] = codes[6];
        words[28] = codes[7];
        *(float*)(record + ScaleOffset) = d[i];
        *(float*)(record + SumOffset) = sums[i];
        *(float*)(record + LowSumOffset) = lowSums[i];
        *(float*)(record + HighSumOffset) = highSums[i];
    }

    /// <summary>Four rows of 32: the codes as words of four columns, and row by row d and d times the sums of codes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Quantize4(
        float* r0, float* r1, float* r2, float* r3,
        out Vector256<uint> c0, out Vector256<uint> c1, out Vector256<uint> c2, out Vector256<uint> c3,
        out Vector128<float> d, out Vector128<float> lowSums, out Vector128<float> highSums, out Vector128<float> sums)
    {
        Vector128<float> m0 = Largest(r0), m1 = Largest(r1), m2 = Largest(r2), m3 = Largest(r3);
        Vector128<float> m01 = Sse.Max(Sse.UnpackLow(m0, m1), Sse.UnpackHigh(m0, m1)), m23 = Sse.Max(Sse.UnpackLow(m2, m3), Sse.UnpackHigh(m2, m3));
        Vector128<float> max = Sse.Max(Sse.MoveLowToHigh(m01, m23), Sse.MoveHighToLow(m23, m01));

        // Not "greater than", so that a row of NaN stays one.
        Vector128<float> zero = Sse.CompareLessThanOrEqual(max, Vector128.Create(SmallestMaximum));
        d = Sse.AndNot(zero, max / 127f);
        Vector128<float> inverse = Sse.AndNot(zero, Vector128.Create(127f) / max);
        c0 = Codes4(r0, Vector256.Create(inverse[0]));
        c1 = Codes4(r1, Vector256.Create(inverse[1]));
        c2 = Codes4(r2, Vector256.Create(inverse[2]));
        c3 = Codes4(r3, Vector256.Create(inverse[3]));
        Vector256<int> both = Avx2.HorizontalAdd(Avx2.HorizontalAdd(Fours(c0), Fours(c1)), Avx2.HorizontalAdd(Fours(c2), Fours(c3)));
        Vector128<int> low = both.GetLower(), high = both.GetUpper();
        lowSums = d * Vector128.ConvertToSingle(low);
        highSums = d * Vector128.ConvertToSingle(high);
        sums = d * Vector128.ConvertToSingle(low + high);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector128<float> Largest(float* row)
    {
        Vector256<float> sign = Vector256.Create(-0f);
        Vector256<float> x0 = Avx.AndNot(sign, Vector256.Load(row)), x1 = Avx.AndNot(sign, Vector256.Load(row + 8));
        Vector256<float> x2 = Avx.AndNot(sign, Vector256.Load(row + 16)), x3 = Avx.AndNot(sign, Vector256.Load(row + 24));
        Vector256<float> m = Avx.Max(Avx.Max(x0, x1), Avx.Max(x2, x3));
        return Sse.Max(m.GetLower(), m.GetUpper());
    }

    /// <summary>32 codes in order, rounded to nearest even by the conversion.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<uint> Codes4(float* row, Vector256<float> inverse)
    {
        Vector256<int> q0 = Avx.ConvertToVector256Int32(Vector256.Load(row) * inverse), q1 = Avx.ConvertToVector256Int32(Vector256.Load(row + 8) * inverse);
        Vector256<int> q2 = Avx.ConvertToVector256Int32(Vector256.Load(row + 16) * inverse), q3 = Avx.ConvertToVector256Int32(Vector256.Load(row + 24) * inverse);
        Vector256<sbyte> packed = Avx2.PackSignedSaturate(Avx2.PackSignedSaturate(q0, q1), Avx2.PackSignedSaturate(q2, q3));
        return Avx2.PermuteVar8x32(packed.AsUInt32(), Vector256.Create(0u, 4, 1, 5, 2, 6, 3, 7)); // packing works within halves
    }

    /// <summary>Sums of four neighbouring codes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<int> Fours(Vector256<uint> codes) =>
        Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(Vector256.Create((byte)1), codes.AsSByte()), Vector256.Create((short)1));

    /// <summary>One token without special instructions.</summary>
    static void Quantize(float* x, int blocks, byte* record)
    {
        for (int b = 0; b < blocks; b++, x += PanelLayout.BlockColumns, record += RecordBytes)
        {
            float max = 0;
            for (int k = 0; k < PanelLayout.BlockColumns; k++)
                if (!(MathF.Abs(x[k]) <= max)) max = MathF.Abs(x[k]);
            bool zero = max <= SmallestMaximum;
            float d = zero ? 0 : max / 127f, inverse = zero ? 0 : 127f / max;
            int low = 0, high = 0;
            for (int k = 0; k < PanelLayout.BlockColumns; k++)
            {
                int code = BitConverter.SingleToInt32Bits(x[k] * inverse + RoundingBias) - BitConverter.SingleToInt32Bits(RoundingBias);
                ((sbyte*)record)[16 * (k / 4) + k % 4] = (sbyte)code;
                if (k < 16) low += code;
                else high += code;
            }
            *(float*)(record + ScaleOffset) = d;
            *(float*)(record + LowSumOffset) = d * low;
            *(float*)(record + HighSumOffset) = d * high;
            *(float*)(record + SumOffset) = d * (low + high);
        }
    }
}
