using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Cpu;

/// <summary>
/// The two products of a low-rank path. An output's sum runs in one fixed order, whatever the number of rows in the call and whatever the
/// instruction set:
/// <code>
///   u[k] = factor[k] * sum of the 16 lanes of ( lane j: a = 0; for c = j, j + 16, ...:  a = fma(A[k, c], x[c], a) )
///   y[o] = y[o] + ( a = 0; for k = 0, 1, ...:  a = fma(B[o, k], u[k], a) )
/// </code>
/// </summary>
internal static unsafe class LowRank
{
    const int Lanes = PackedLora.Lanes;

    /// <summary>Rows of activations that a call takes.</summary>
    public const int RowsMax = 8;

    /// <param name="x">[rows] pointers to the inputs of the rows.</param>
    /// <param name="u">[rows] pointers to what becomes u, <see cref="LoraPair.Rank"/> floats each.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Reduce(in LoraPair pair, float** x, int rows, float** u)
    {
        float* tails = stackalloc float[RowsMax * Lanes];
        int whole = pair.Inputs / Lanes * Lanes;
        for (int row = 0; row < rows && whole < pair.Inputs; row++)
            for (int i = 0; i < Lanes; i++) tails[row * Lanes + i] = whole + i < pair.Inputs ? x[row][whole + i] : 0;
        int done = 0;
        for (; done + 4 <= rows; done += 4)
            for (int k = 0; k < pair.Rank; k++) Reduce4(pair, k, x + done, tails + done * Lanes, whole, u + done);
        for (; done < rows; done++)
        {
            int k = 0;
            for (; k + PackedLora.BlockRows <= pair.Rank; k += PackedLora.BlockRows) Reduce1x8(pair, k, x[done], tails + done * Lanes, whole, u[done]);
            for (; k < pair.Rank; k++) Reduce1(pair, k, x[done], tails + done * Lanes, whole, u[done]);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Reduce4(in LoraPair pair, int k, float** x, float* tails, int whole, float** u)
    {
        short* a = pair.Row(k, out int step);
        float* x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        int c = 0;
        for (; c < whole; c += Lanes, a += step)
        {
            Vector512<float> w = Widen(a);
            s0 = Vector512.FusedMultiplyAdd(w, Vector512.Load(x0 + c), s0);
            s1 = Vector512.FusedMultiplyAdd(w, Vector512.Load(x1 + c), s1);
            s2 = Vector512.FusedMultiplyAdd(w, Vector512.Load(x2 + c), s2);
            s3 = Vector512.FusedMultiplyAdd(w, Vector512.Load(x3 + c), s3);
        }

        if (c < pair.Inputs)
        {
            Vector512<float> w = Widen(a);
            s0 = Vector512.FusedMultiplyAdd(w, Vector512.Load(tails), s0);
            s1 = Vector512.FusedMultiplyAdd(w, Vector512.Load(tails + Lanes), s1);
            s2 = Vector512.FusedMultiplyAdd(w, Vector512.Load(tails + 2 * Lanes), s2);
            s3 = Vector512.FusedMultiplyAdd(w, Vector512.Load(tails + 3 * Lanes), s3);
        }

        float factor = pair.Factors[k];
        u[0][k] = factor * Sum(s0);
        u[1][k] = factor * Sum(s1);
        u[2][k] = factor * Sum(s2);
        u[3][k] = factor * Sum(s3);
    }

    /// <summary>One row of activations: eight sums, so that none waits for another.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Reduce1x8(in LoraPair pair, int k, float* x, float* tail, int whole, float* u)
    {
        short* a = pair.Row(k, out int step);
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        for (int c = 0; c < pair.Inputs; c += Lanes, a += step)
        {
            Fetch.Ahead((byte*)a, PackedLora.BlockRows * Lanes * sizeof(short));
            Vector512<float> v = Vector512.Load(c < whole ? x + c : tail);
            s0 = Vector512.FusedMultiplyAdd(Widen(a), v, s0);
            s1 = Vector512.FusedMultiplyAdd(Widen(a + Lanes), v, s1);
            s2 = Vector512.FusedMultiplyAdd(Widen(a + 2 * Lanes), v, s2);
            s3 = Vector512.FusedMultiplyAdd(Widen(a + 3 * Lanes), v, s3);
            s4 = Vector512.FusedMultiplyAdd(Widen(a + 4 * Lanes), v, s4);
            s5 = Vector512.FusedMultiplyAdd(Widen(a + 5 * Lanes), v, s5);
            s6 = Vector512.FusedMultiplyAdd(Widen(a + 6 * Lanes), v, s6);
            s7 = Vector512.FusedMultiplyAdd(Widen(a + 7 * Lanes), v, s7);
        }

        float* factors = pair.Factors + k;
        u += k;
        u[0] = factors[0] * Sum(s0);
        u[1] = factors[1] * Sum(s1);
        u[2] = factors[2] * Sum(s2);
        u[3] = factors[3] * Sum(s3);
        u[4] = factors[4] * Sum(s4);
        u[5] = factors[5] * Sum(s5);
        u[6] = factors[6] * Sum(s6);
        u[7] = factors[7] * Sum(s7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Reduce1(in LoraPair pair, int k, float* x, float* tail, int whole, float* u)
    {
        short* a = pair.Row(k, out int step);
        Vector512<float> sum = default;
        for (int c = 0; c < pair.Inputs; c += Lanes, a += step)
            sum = Vector512.FusedMultiplyAdd(Widen(a), Vector512.Load(c < whole ? x + c : tail), sum);
        u[k] = pair.Factors[k] * Sum(sum);
    }

    /// <summary>y += B u for outputs [<paramref name="first"/>, <paramref name="first"/> + <paramref name="count"/>) of the projection.</summary>
    /// <param name="first">A multiple of 16.</param>
    /// <param name="u">[rows] pointers.</param>
    /// <param name="y">[rows] pointers to output <paramref name="first"/> of the rows.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Expand(in LoraPair pair, float** u, int rows, int first, int count, float** y)
    {
        nint panelCodes = (nint)pair.Rank * Lanes;
        short* b = pair.B + first / Lanes * panelCodes;
        int done = 0, o;
        for (; done + 4 <= rows; done += 4)
            for (o = 0; o < count; o += Lanes) Expand4(pair.Rank, b + o / Lanes * panelCodes, u + done, y + done, o, Math.Min(Lanes, count - o));
        for (; done < rows; done++)
        {
            for (o = 0; o + 4 * Lanes <= count; o += 4 * Lanes)
            {
                Fetch.Ahead((byte*)(b + o / Lanes * panelCodes), (int)(4 * panelCodes * sizeof(short)));
                Expand1x4(pair.Rank, b + o / Lanes * panelCodes, panelCodes, u[done], y[done] + o);
            }

            for (; o < count; o += Lanes) Expand1(pair.Rank, b + o / Lanes * panelCodes, u[done], y[done] + o, Math.Min(Lanes, count - o));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Expand4(int rank, short* b, float** u, float** y, int output, int count)
    {
        float* u0 = u[0], u1 = u[1], u2 = u[2], u3 = u[3];
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        for (int k = 0; k < rank; k++, b += Lanes)
        {
            Vector512<float> w = Widen(b);
            s0 = Vector512.FusedMultiplyAdd(w, Vector512.Create(u0[k]), s0);
            s1 = Vector512.FusedMultiplyAdd(w, Vector512.Create(u1[k]), s1);
            s2 = Vector512.FusedMultiplyAdd(w, Vector512.Create(u2[k]), s2);
            s3 = Vector512.FusedMultiplyAdd(w, Vector512.Create(u3[k]), s3);
        }

        Add(s0, y[0] + output, count);
        Add(s1, y[1] + output, count);
        Add(s2, y[2] + output, count);
        Add(s3, y[3] + output, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Expand1x4(int rank, short* b, nint panelCodes, float* u, float* y)
    {
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        for (int k = 0; k < rank; k++, b += Lanes)
        {
            Vector512<float> v = Vector512.Create(u[k]);
            s0 = Vector512.FusedMultiplyAdd(Widen(b), v, s0);
            s1 = Vector512.FusedMultiplyAdd(Widen(b + panelCodes), v, s1);
            s2 = Vector512.FusedMultiplyAdd(Widen(b + 2 * panelCodes), v, s2);
            s3 = Vector512.FusedMultiplyAdd(Widen(b + 3 * panelCodes), v, s3);
        }

        Add(s0, y, Lanes);
        Add(s1, y + Lanes, Lanes);
        Add(s2, y + 2 * Lanes, Lanes);
        Add(s3, y + 3 * Lanes, Lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Expand1(int rank, short* b, float* u, float* y, int count)
    {
        Vector512<float> sum = default;
        for (int k = 0; k < rank; k++, b += Lanes) sum = Vector512.FusedMultiplyAdd(Widen(b), Vector512.Create(u[k]), sum);
        Add(sum, y, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Add(Vector512<float> sum, float* y, int count)
    {
        if (count == Lanes) (Vector512.Load(y) + sum).Store(y);
        else
            for (int i = 0; i < count; i++) y[i] += sum[i];
    }

    /// <summary>16 codes as floats, exactly.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector512<float> Widen(short* codes)
    {
        if (Avx512F.IsSupported) return Avx512F.ConvertToVector512Single(Avx512F.ConvertToVector512Int32(Vector256.Load(codes)));
        (Vector256<int> low, Vector256<int> high) = Vector256.Widen(Vector256.Load(codes));
        return Vector512.Create(Vector256.ConvertToSingle(low), Vector256.ConvertToSingle(high));
    }

    /// <summary>Lanes eight apart first, then four, two and one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static float Sum(Vector512<float> lanes)
    {
        Vector256<float> eight = lanes.GetLower() + lanes.GetUpper();
        Vector128<float> four = eight.GetLower() + eight.GetUpper();
        Vector128<float> two = four + Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1));
        return two[0] + two[1];
    }
}
