using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using LongCtx.Engine.Cache;

namespace LongCtx.Engine.Cpu;

/// <summary>
/// Attention of a few query rows over one block of 64 keys, with online softmax. Dimensions: d = head dimension, v = d rounded up to 16.
/// <code>
///   keys   K: [d][64]  halves, transposed, so that lanes are keys and a score is one chain of products over d
///   values V: [64][v]  halves, so that lanes are output dimensions and an output is one chain over the keys
/// </code>
/// A row's result depends on its own query and mask alone: every chain runs in the order of d, or of the key index, whatever other rows
/// share the tile. Scores are in units of log 2 (queries come scaled by log2(e)/sqrt(d)), so that the softmax uses 2^x.
/// </summary>
internal static unsafe class AttentionKernel
{
    public const int BlockSize = BlockPool.BlockSize;

    /// <summary>Kernels stay methods of their own: inlined into a long caller, their accumulators end up on the stack.</summary>
    const MethodImplOptions Kernel = MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization;

    /// <summary>
    /// Halves to floats: a block's keys ([d][64]) or values ([64][v]), <paramref name="count"/> a multiple of 16. Meanwhile as many bytes
    /// are fetched from <paramref name="next"/>: 8 KiB are too short for the hardware to run ahead by itself.
    /// </summary>
    [MethodImpl(Kernel)]
    public static void Widen(ushort* source, float* destination, int count, byte* next)
    {
        int i = 0;
        for (; i + 32 <= count; i += 32)
        {
            if (Sse.IsSupported) Sse.Prefetch0(next + 2 * i);
            VectorMath.LoadHalf(source + i).Store(destination + i);
            VectorMath.LoadHalf(source + i + 16).Store(destination + i + 16);
        }

        for (; i < count; i += 16) VectorMath.LoadHalf(source + i).Store(destination + i);
    }

    /// <summary>
    /// scores[rows, 64] = q[rows, d] · K[d, 64] for the slots [0, <paramref name="end"/>), rounded up to 16; the others keep what they hold.
    /// </summary>
    [MethodImpl(Kernel)]
    public static void Scores(float* q, int rows, int d, float* k, float* scores, int end)
    {
        int r = 0;
        if (end <= BlockSize / 2) // sinks, and the first tokens of a block: a few columns for many rows
            for (; r + 8 <= rows; r += 8)
                for (int c = 0; c < end; c += 16) Scores8x16(q + r * d, d, k + c, scores + r * BlockSize + c);
        for (; r + 4 <= rows; r += 4) Scores4(q + r * d, d, k, scores + r * BlockSize);
        for (; r + 3 <= rows; r += 3) Scores3(q + r * d, d, k, scores + r * BlockSize);
        for (; r < rows; r++) Scores1(q + r * d, d, k, scores + r * BlockSize);
    }

    [MethodImpl(Kernel)]
    static void Scores8x16(float* q, int d, float* k, float* scores)
    {
        Vector512<float> a = default, b = default, c = default, e = default, f = default, g = default, h = default, l = default;
        float* q4 = q + 4 * d;
        for (int i = 0; i < d; i++, k += BlockSize)
        {
            Vector512<float> x = Vector512.Load(k);
            a = Vector512.FusedMultiplyAdd(Vector512.Create(q[i]), x, a);
            b = Vector512.FusedMultiplyAdd(Vector512.Create(q[i + d]), x, b);
            c = Vector512.FusedMultiplyAdd(Vector512.Create(q[i + 2 * d]), x, c);
            e = Vector512.FusedMultiplyAdd(Vector512.Create(q[i + 3 * d]), x, e);
            f = Vector512.FusedMultiplyAdd(Vector512.Create(q4[i]), x, f);
            g = Vector512.FusedMultiplyAdd(Vector512.Create(q4[i + d]), x, g);
            h = Vector512.FusedMultiplyAdd(Vector512.Create(q4[i + 2 * d]), x, h);
            l = Vector512.FusedMultiplyAdd(Vector512.Create(q4[i + 3 * d]), x, l);
        }

        a.Store(scores);
        b.Store(scores + BlockSize);
        c.Store(scores + 2 * BlockSize);
        e.Store(scores + 3 * BlockSize);
        f.Store(scores + 4 * BlockSize);
        g.Store(scores + 5 * BlockSize);
        h.Store(scores + 6 * BlockSize);
        l.Store(scores + 7 * BlockSize);
    }

    [MethodImpl(Kernel)]
    static void Scores4(float* q, int d, float* k, float* scores)
    {
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default;
        Vector512<float> b0 = default, b1 = default, b2 = default, b3 = default;
        Vector512<float> c0 = default, c1 = default, c2 = default, c3 = default;
        Vector512<float> e0 = default, e1 = default, e2 = default, e3 = default;
        float* qb = q + d, qc = qb + d, qe = qc + d;
        for (int i = 0; i < d; i++, k += BlockSize)
        {
            Vector512<float> k0 = Vector512.Load(k), k1 = Vector512.Load(k + 16), k2 = Vector512.Load(k + 32), k3 = Vector512.Load(k + 48);
            Vector512<float> x = Vector512.Create(q[i]);
            a0 = Vector512.FusedMultiplyAdd(x, k0, a0);
            a1 = Vector512.FusedMultiplyAdd(x, k1, a1);
            a2 = Vector512.FusedMultiplyAdd(x, k2, a2);
            a3 = Vector512.FusedMultiplyAdd(x, k3, a3);
            x = Vector512.Create(qb[i]);
            b0 = Vector512.FusedMultiplyAdd(x, k0, b0);
            b1 = Vector512.FusedMultiplyAdd(x, k1, b1);
            b2 = Vector512.FusedMultiplyAdd(x, k2, b2);
            b3 = Vector512.FusedMultiplyAdd(x, k3, b3);
            x = Vector512.Create(qc[i]);
            c0 = Vector512.FusedMultiplyAdd(x, k0, c0);
            c1 = Vector512.FusedMultiplyAdd(x, k1, c1);
            c2 = Vector512.FusedMultiplyAdd(x, k2, c2);
            c3 = Vector512.FusedMultiplyAdd(x, k3, c3);
            x = Vector512.Create(qe[i]);
            e0 = Vector512.FusedMultiplyAdd(x, k0, e0);
            e1 = Vector512.FusedMultiplyAdd(x, k1, e1);
            e2 = Vector512.FusedMultiplyAdd(x, k2, e2);
            e3 = Vector512.FusedMultiplyAdd(x, k3, e3);
        }

        Store4(scores, a0, a1, a2, a3);
        Store4(scores + BlockSize, b0, b1, b2, b3);
        Store4(scores + 2 * BlockSize, c0, c1, c2, c3);
        Store4(scores + 3 * BlockSize, e0, e1, e2, e3);
    }

    [MethodImpl(Kernel)]
    static void Scores3(float* q, int d, float* k, float* scores)
    {
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default;
        Vector512<float> b0 = default, b1 = default, b2 = default, b3 = default;
        Vector512<float> c0 = default, c1 = default, c2 = default, c3 = default;
        float* qb = q + d, qc = qb + d;
        for (int i = 0; i < d; i++, k += BlockSize)
        {
            Vector512<float> k0 = Vector512.Load(k), k1 = Vector512.Load(k + 16), k2 = Vector512.Load(k + 32), k3 = Vector512.Load(k + 48);
            Vector512<float> x = Vector512.Create(q[i]);
            a0 = Vector512.FusedMultiplyAdd(x, k0, a0);
            a1 = Vector512.FusedMultiplyAdd(x, k1, a1);
            a2 = Vector512.FusedMultiplyAdd(x, k2, a2);
            a3 = Vector512.FusedMultiplyAdd(x, k3, a3);
            x = Vector512.Create(qb[i]);
            b0 = Vector512.FusedMultiplyAdd(x, k0, b0);
            b1 = Vector512.FusedMultiplyAdd(x, k1, b1);
            b2 = Vector512.FusedMultiplyAdd(x, k2, b2);
            b3 = Vector512.FusedMultiplyAdd(x, k3, b3);
            x = Vector512.Create(qc[i]);
            c0 = Vector512.FusedMultiplyAdd(x, k0, c0);
            c1 = Vector512.FusedMultiplyAdd(x, k1, c1);
            c2 = Vector512.FusedMultiplyAdd(x, k2, c2);
            c3 = Vector512.FusedMultiplyAdd(x, k3, c3);
        }

        Store4(scores, a0, a1, a2, a3);
        Store4(scores + BlockSize, b0, b1, b2, b3);
        Store4(scores + 2 * BlockSize, c0, c1, c2, c3);
    }

    [MethodImpl(Kernel)]
    static void Scores1(float* q, int d, float* k, float* scores)
    {
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default;
        for (int i = 0; i < d; i++, k += BlockSize)
        {
            Vector512<float> x = Vector512.Create(q[i]);
            a0 = Vector512.FusedMultiplyAdd(x, Vector512.Load(k), a0);
            a1 = Vector512.FusedMultiplyAdd(x, Vector512.Load(k + 16), a1);
            a2 = Vector512.FusedMultiplyAdd(x, Vector512.Load(k + 32), a2);
            a3 = Vector512.FusedMultiplyAdd(x, Vector512.Load(k + 48), a3);
        }

        Store4(scores, a0, a1, a2, a3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Store4(float* to, Vector512<float> x0, Vector512<float> x1, Vector512<float> x2, Vector512<float> x3)
    {
        x0.Store(to);
        x1.Store(to + 16);
        x2.Store(to + 32);
        x3.Store(to + 48);
    }

    /// <summary>
    /// Online softmax of some rows over one block: <paramref name="scores"/> [rows, 64] become 2^(score + bias - max), 0 outside each row's
    /// slots [from, to]. Updates the running maxima and sums; <paramref name="factors"/> [rows] are for what was accumulated before.
    /// A row that sees nothing (to &lt; from) keeps its state, with factor 1 or, before its first key, 0. Arrays have room for a multiple of 16.
    /// </summary>
    [MethodImpl(Kernel)]
    public static void Softmax(float* scores, int rows, float* bias, Slots* visible, float* max, float* sum, float* factors)
    {
        for (int r = 0; r < rows; r++)
        {
            float* s = scores + r * BlockSize;
            Vector512<float> s0 = Vector512.Load(s), s1 = Vector512.Load(s + 16), s2 = Vector512.Load(s + 32), s3 = Vector512.Load(s + 48);
            (int from, int to) = visible[r];
            bool isPart = from > 0 || to < BlockSize - 1;
            if (bias != null || isPart)
            {
                if (bias != null)
                {
                    s0 += Vector512.Load(bias);
                    s1 += Vector512.Load(bias + 16);
                    s2 += Vector512.Load(bias + 32);
                    s3 += Vector512.Load(bias + 48);
                }

                if (isPart)
                {
                    s0 = Mask(s0, 0, from, to);
                    s1 = Mask(s1, 16, from, to);
                    s2 = Mask(s2, 32, from, to);
                    s3 = Mask(s3, 48, from, to);
                }

                Store4(s, s0, s1, s2, s3);
            }

            factors[r] = Math.Max(max[r], HorizontalMax(Vector512.Max(Vector512.Max(s0, s1), Vector512.Max(s2, s3)))); // the new maximum; the loop below replaces it by the factor
        }

        float* tops = stackalloc float[(rows + 15) / 16 * 16], shifts = stackalloc float[(rows + 15) / 16 * 16];
        for (int r = 0; r < rows; r += 16)
        {
            Vector512<float> old = Vector512.Load(max + r), top = Vector512.Load(factors + r);
            top.Store(tops + r); // not to max: the lanes past the last row are other rows' state
            // Before the first key the maximum is -inf: a shift of 0 keeps -inf - shift from being NaN.
            Vector512<float> shift = Vector512.ConditionalSelect(Vector512.Equals(top, Vector512.Create(float.NegativeInfinity)), Vector512<float>.Zero, top);
            shift.Store(shifts + r);
            VectorMath.Exp2(old - shift).Store(factors + r);
        }

        for (int r = 0; r < rows; r++)
        {
            float* s = scores + r * BlockSize;
            Vector512<float> shift = Vector512.Create(shifts[r]);
            Vector512<float> s0 = VectorMath.Exp2(Vector512.Load(s) - shift), s1 = VectorMath.Exp2(Vector512.Load(s + 16) - shift);
            Vector512<float> s2 = VectorMath.Exp2(Vector512.Load(s + 32) - shift), s3 = VectorMath.Exp2(Vector512.Load(s + 48) - shift);
            Store4(s, s0, s1, s2, s3);
            max[r] = tops[r];
            sum[r] = sum[r] * factors[r] + Vector512.Sum((s0 + s1) + (s2 + s3));
        }
    }

    /// <summary>The slots of a block that a row sees, both ends included; empty when <paramref name="To"/> &lt; <paramref name="From"/>.</summary>
    public readonly record struct Slots(int From, int To);

    /// <summary>-inf outside the slots [from, to]; <paramref name="first"/> is the slot of lane 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector512<float> Mask(Vector512<float> s, int first, int from, int to)
    {
        Vector512<int> slot = Vector512<int>.Indices + Vector512.Create(first);
        Vector512<int> visible = Vector512.GreaterThanOrEqual(slot, Vector512.Create(from)) & Vector512.LessThanOrEqual(slot, Vector512.Create(to));
        return Vector512.ConditionalSelect(visible.AsSingle(), s, Vector512.Create(float.NegativeInfinity));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static float HorizontalMax(Vector512<float> x)
    {
        Vector256<float> y = Vector256.Max(x.GetLower(), x.GetUpper());
        Vector128<float> z = Vector128.Max(y.GetLower(), y.GetUpper());
        return Math.Max(Math.Max(z[0], z[1]), Math.Max(z[2], z[3]));
    }

    /// <summary>
    /// acc[rows, v] = acc * scale[row] + p[rows, 64] · V[64, v] over the slots [<paramref name="from"/>, <paramref name="to"/>].
    /// </summary>
    [MethodImpl(Kernel)]
    public static void Accumulate(float* acc, int rows, int v, float* p, float* scale, float* values, int from, int to)
    {
        int r = 0;
        for (; r + 4 <= rows; r += 4)
        {
            int c = 0;
            for (; c + 64 <= v; c += 64) Accumulate4(acc + r * v + c, v, p + r * BlockSize, scale + r, values + c, from, to);
            for (; c < v; c += 16)
                for (int i = r; i < r + 4; i++) Accumulate1(acc + i * v + c, v, p + i * BlockSize, scale[i], values + c, from, to);
        }

        for (; r + 3 <= rows && v % 64 == 0; r += 3)
            for (int c = 0; c < v; c += 64) Accumulate3(acc + r * v + c, v, p + r * BlockSize, scale + r, values + c, from, to);

        for (; r < rows; r++)
        {
            int c = 0;
            for (; c + 64 <= v; c += 64) Accumulate1x64(acc + r * v + c, v, p + r * BlockSize, scale[r], values + c, from, to);
            for (; c < v; c += 16) Accumulate1(acc + r * v + c, v, p + r * BlockSize, scale[r], values + c, from, to);
        }
    }

    [MethodImpl(Kernel)]
    static void Accumulate4(float* acc, int v, float* p, float* scale, float* values, int from, int to)
    {
        float* accB = acc + v, accC = accB + v, accE = accC + v;
        Vector512<float> s = Vector512.Create(scale[0]);
        Vector512<float> a0 = Vector512.Load(acc) * s, a1 = Vector512.Load(acc + 16) * s, a2 = Vector512.Load(acc + 32) * s, a3 = Vector512.Load(acc + 48) * s;
        s = Vector512.Create(scale[1]);
        Vector512<float> b0 = Vector512.Load(accB) * s, b1 = Vector512.Load(accB + 16) * s, b2 = Vector512.Load(accB + 32) * s, b3 = Vector512.Load(accB + 48) * s;
        s = Vector512.Create(scale[2]);
        Vector512<float> c0 = Vector512.Load(accC) * s, c1 = Vector512.Load(accC + 16) * s, c2 = Vector512.Load(accC + 32) * s, c3 = Vector512.Load(accC + 48) * s;
        s = Vector512.Create(scale[3]);
        Vector512<float> e0 = Vector512.Load(accE) * s, e1 = Vector512.Load(accE + 16) * s, e2 = Vector512.Load(accE + 32) * s, e3 = Vector512.Load(accE + 48) * s;
        float* pb = p + BlockSize, pc = pb + BlockSize, pe = pc + BlockSize;
        values += from * v;
        for (int j = from; j <= to; j++, values += v)
        {
            Vector512<float> v0 = Vector512.Load(values), v1 = Vector512.Load(values + 16), v2 = Vector512.Load(values + 32), v3 = Vector512.Load(values + 48);
            Vector512<float> x = Vector512.Create(p[j]);
            a0 = Vector512.FusedMultiplyAdd(x, v0, a0);
            a1 = Vector512.FusedMultiplyAdd(x, v1, a1);
            a2 = Vector512.FusedMultiplyAdd(x, v2, a2);
            a3 = Vector512.FusedMultiplyAdd(x, v3, a3);
            x = Vector512.Create(pb[j]);
            b0 = Vector512.FusedMultiplyAdd(x, v0, b0);
            b1 = Vector512.FusedMultiplyAdd(x, v1, b1);
            b2 = Vector512.FusedMultiplyAdd(x, v2, b2);
            b3 = Vector512.FusedMultiplyAdd(x, v3, b3);
            x = Vector512.Create(pc[j]);
            c0 = Vector512.FusedMultiplyAdd(x, v0, c0);
            c1 = Vector512.FusedMultiplyAdd(x, v1, c1);
            c2 = Vector512.FusedMultiplyAdd(x, v2, c2);
            c3 = Vector512.FusedMultiplyAdd(x, v3, c3);
            x = Vector512.Create(pe[j]);
            e0 = Vector512.FusedMultiplyAdd(x, v0, e0);
            e1 = Vector512.FusedMultiplyAdd(x, v1, e1);
            e2 = Vector512.FusedMultiplyAdd(x, v2, e2);
            e3 = Vector512.FusedMultiplyAdd(x, v3, e3);
        }

        Store4(acc, a0, a1, a2, a3);
        Store4(accB, b0, b1, b2, b3);
        Store4(accC, c0, c1, c2, c3);
        Store4(accE, e0, e1, e2, e3);
    }

    [MethodImpl(Kernel)]
    static void Accumulate3(float* acc, int v, float* p, float* scale, float* values, int from, int to)
    {
        float* accB = acc + v, accC = accB + v;
        Vector512<float> s = Vector512.Create(scale[0]);
        Vector512<float> a0 = Vector512.Load(acc) * s, a1 = Vector512.Load(acc + 16) * s, a2 = Vector512.Load(acc + 32) * s, a3 = Vector512.Load(acc + 48) * s;
        s = Vector512.Create(scale[1]);
        Vector512<float> b0 = Vector512.Load(accB) * s, b1 = Vector512.Load(accB + 16) * s, b2 = Vector512.Load(accB + 32) * s, b3 = Vector512.Load(accB + 48) * s;
        s = Vector512.Create(scale[2]);
        Vector512<float> c0 = Vector512.Load(accC) * s, c1 = Vector512.Load(accC + 16) * s, c2 = Vector512.Load(accC + 32) * s, c3 = Vector512.Load(accC + 48) * s;
        float* pb = p + BlockSize, pc = pb + BlockSize;
        values += from * v;
        for (int j = from; j <= to; j++, values += v)
        {
            Vector512<float> v0 = Vector512.Load(values), v1 = Vector512.Load(values + 16), v2 = Vector512.Load(values + 32), v3 = Vector512.Load(values + 48);
            Vector512<float> x = Vector512.Create(p[j]);
            a0 = Vector512.FusedMultiplyAdd(x, v0, a0);
            a1 = Vector512.FusedMultiplyAdd(x, v1, a1);
            a2 = Vector512.FusedMultiplyAdd(x, v2, a2);
            a3 = Vector512.FusedMultiplyAdd(x, v3, a3);
            x = Vector512.Create(pb[j]);
            b0 = Vector512.FusedMultiplyAdd(x, v0, b0);
            b1 = Vector512.FusedMultiplyAdd(x, v1, b1);
            b2 = Vector512.FusedMultiplyAdd(x, v2, b2);
            b3 = Vector512.FusedMultiplyAdd(x, v3, b3);
            x = Vector512.Create(pc[j]);
            c0 = Vector512.FusedMultiplyAdd(x, v0, c0);
            c1 = Vector512.FusedMultiplyAdd(x, v1, c1);
            c2 = Vector512.FusedMultiplyAdd(x, v2, c2);
            c3 = Vector512.FusedMultiplyAdd(x, v3, c3);
        }

        Store4(acc, a0, a1, a2, a3);
        Store4(accB, b0, b1, b2, b3);
        Store4(accC, c0, c1, c2, c3);
    }

    [MethodImpl(Kernel)]
    static void Accumulate1x64(float* acc, int v, float* p, float scale, float* values, int from, int to)
    {
        Vector512<float> s = Vector512.Create(scale);
        Vector512<float> a0 = Vector512.Load(acc) * s, a1 = Vector512.Load(acc + 16) * s, a2 = Vector512.Load(acc + 32) * s, a3 = Vector512.Load(acc + 48) * s;
        values += from * v;
        for (int j = from; j <= to; j++, values += v)
        {
            Vector512<float> x = Vector512.Create(p[j]);
            a0 = Vector512.FusedMultiplyAdd(x, Vector512.Load(values), a0);
            a1 = Vector512.FusedMultiplyAdd(x, Vector512.Load(values + 16), a1);
            a2 = Vector512.FusedMultiplyAdd(x, Vector512.Load(values + 32), a2);
            a3 = Vector512.FusedMultiplyAdd(x, Vector512.Load(values + 48), a3);
        }

        Store4(acc, a0, a1, a2, a3);
    }

    [MethodImpl(Kernel)]
    static void Accumulate1(float* acc, int v, float* p, float scale, float* values, int from, int to)
    {
        Vector512<float> a = Vector512.Load(acc) * Vector512.Create(scale);
        values += from * v;
        for (int j = from; j <= to; j++, values += v) a = Vector512.FusedMultiplyAdd(Vector512.Create(p[j]), Vector512.Load(values), a);
        a.Store(acc);
    }

    /// <summary>
    /// Merges a partial attention into another by log-sum-exp: o = Σ 2^(m_r - m) acc_r, and the same for the sums.
    /// <paramref name="into"/> and <paramref name="from"/> are [v]; an empty partial (sum 0) changes nothing.
    /// </summary>
    [MethodImpl(Kernel)]
    public static void Merge(float* into, ref float intoMax, ref float intoSum, float* from, float fromMax, float fromSum, int v)
    {
        if (fromSum == 0) return;
        float max = Math.Max(intoMax, fromMax);
        float a = VectorMath.Exp2(intoMax - max), b = VectorMath.Exp2(fromMax - max);
        Vector512<float> va = Vector512.Create(a), vb = Vector512.Create(b);
        for (int i = 0; i < v; i += 16)
            Vector512.FusedMultiplyAdd(Vector512.Load(from + i), vb, Vector512.Load(into + i) * va).Store(into + i);
        intoMax = max;
        intoSum = intoSum * a + fromSum * b;
    }
}
