using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using LongCtx.Engine.Cpu;

namespace LongCtx.Engine.Training;

/// <summary>Row-wise kernels of the backward pass; the forward ones are in <see cref="Elementwise"/>. The order of every sum is fixed by the length.</summary>
internal static unsafe class Gradients
{
    /// <summary>x *= factor.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scale(float* x, int n, float factor)
    {
        int i = 0;
        for (; i + 16 <= n; i += 16) (Vector512.Load(x + i) * factor).Store(x + i);
        for (; i < n; i++) x[i] *= factor;
    }

    /// <summary>Σ x y.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Dot(float* x, float* y, int n)
    {
        Vector512<float> sums = default;
        int i = 0;
        for (; i + 16 <= n; i += 16) sums = Vector512.FusedMultiplyAdd(Vector512.Load(x + i), Vector512.Load(y + i), sums);
        float sum = Vector512.Sum(sums);
        for (; i < n; i++) sum = MathF.FusedMultiplyAdd(x[i], y[i], sum);
        return sum;
    }

    /// <summary>
    /// Of y = x f w, f = 1 / sqrt(mean(x²) + eps): dx (+)= f w dy - x f³ / n Σ x w dy.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void RmsNorm(float* x, float* weight, float* dy, float* dx, int n, float eps, bool accumulate)
    {
        Vector512<float> squares = default, products = default;
        int i = 0;
        for (; i + 16 <= n; i += 16)
        {
            Vector512<float> v = Vector512.Load(x + i);
            squares = Vector512.FusedMultiplyAdd(v, v, squares);
            products = Vector512.FusedMultiplyAdd(v, Vector512.Load(weight + i) * Vector512.Load(dy + i), products);
        }

        float square = Vector512.Sum(squares), product = Vector512.Sum(products);
        for (; i < n; i++)
        {
            square = MathF.FusedMultiplyAdd(x[i], x[i], square);
            product = MathF.FusedMultiplyAdd(x[i], weight[i] * dy[i], product);
        }

        float f = 1 / MathF.Sqrt(square / n + eps), g = -product * f * f * f / n;
        Vector512<float> f16 = Vector512.Create(f), g16 = Vector512.Create(g);
        for (i = 0; i + 16 <= n; i += 16)
        {
            Vector512<float> d = Vector512.FusedMultiplyAdd(Vector512.Load(x + i), g16, Vector512.Load(weight + i) * Vector512.Load(dy + i) * f16);
            (accumulate ? Vector512.Load(dx + i) + d : d).Store(dx + i);
        }

        for (; i < n; i++)
        {
            float d = MathF.FusedMultiplyAdd(x[i], g, weight[i] * dy[i] * f);
            dx[i] = accumulate ? dx[i] + d : d;
        }
    }

    /// <summary>Of y = silu(gate) up: y once more, dGate = dy up σ (1 + gate (1 - σ)), dUp = dy silu(gate).</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void SwiGlu(float* gate, float* up, float* dy, float* y, float* dGate, float* dUp, int n)
    {
        int i = 0;
        for (; i + 16 <= n; i += 16)
        {
            SwiGlu(Vector512.Load(gate + i), Vector512.Load(up + i), Vector512.Load(dy + i), out Vector512<float> y16, out Vector512<float> dGate16, out Vector512<float> dUp16);
            y16.Store(y + i);
            dGate16.Store(dGate + i);
            dUp16.Store(dUp + i);
        }

        if (i == n) return;
        float* tail = stackalloc float[96];
        new Span<float>(tail, 96).Clear();
        for (int j = 0; j < n - i; j++) (tail[j], tail[16 + j], tail[32 + j]) = (gate[i + j], up[i + j], dy[i + j]);
        SwiGlu(Vector512.Load(tail), Vector512.Load(tail + 16), Vector512.Load(tail + 32), out Vector512<float> y1, out Vector512<float> dGate1, out Vector512<float> dUp1);
        y1.Store(tail + 48);
        dGate1.Store(tail + 64);
        dUp1.Store(tail + 80);
        for (int j = 0; j < n - i; j++) (y[i + j], dGate[i + j], dUp[i + j]) = (tail[48 + j], tail[64 + j], tail[80 + j]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void SwiGlu(
        Vector512<float> gate, Vector512<float> up, Vector512<float> dy, out Vector512<float> y, out Vector512<float> dGate, out Vector512<float> dUp)
    {
        Vector512<float> sigma = Vector512<float>.One / (Vector512<float>.One + VectorMath.Exp(-Vector512.Max(gate, Vector512.Create(-87f))));
        Vector512<float> silu = gate * sigma;
        y = silu * up;
        dUp = dy * silu;
        dGate = dy * up * sigma * (Vector512<float>.One + gate * (Vector512<float>.One - sigma));
    }

    /// <summary>Of cross-entropy: logits become (softmax - one-hot) × factor, given their log-sum-exp.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void CrossEntropy(float* logits, int n, int label, float logSumExp, float factor)
    {
        Vector512<float> shift = Vector512.Create(logSumExp);
        int i = 0;
        for (; i + 16 <= n; i += 16) (VectorMath.Exp(Vector512.Load(logits + i) - shift) * factor).Store(logits + i);
        for (; i < n; i++) logits[i] = MathF.Exp(logits[i] - logSumExp) * factor;
        logits[label] -= factor;
    }

    /// <summary>
    /// Of attention over one block of 64 keys: scores [rows, 64] in units of log 2 become probabilities p = 2^(score + bias - lse), and
    /// <paramref name="dP"/> [rows, 64] becomes dS = p (dP - delta). What a row does not see is zero in both.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Softmax(float* scores, float* dP, float* bias, float* logSumExp, float* delta, AttentionKernel.Slots* visible, int rows)
    {
        for (int r = 0; r < rows; r++, scores += AttentionKernel.BlockSize, dP += AttentionKernel.BlockSize)
        {
            Vector512<float> lse = Vector512.Create(logSumExp[r]), d = Vector512.Create(delta[r]);
            Vector512<int> first = Vector512.Create(visible[r].From), last = Vector512.Create(visible[r].To);
            for (int c = 0; c < AttentionKernel.BlockSize; c += 16)
            {
                Vector512<int> slot = Vector512<int>.Indices + Vector512.Create(c);
                Vector512<float> seen = (Vector512.GreaterThanOrEqual(slot, first) & Vector512.LessThanOrEqual(slot, last)).AsSingle();
                Vector512<float> score = Vector512.Load(scores + c);
                if (bias != null) score += Vector512.Load(bias + c);
                Vector512<float> p = VectorMath.Exp2(score - lse);
                p = Vector512.ConditionalSelect(seen, p, Vector512<float>.Zero); // what lies there may be anything
                p.Store(scores + c);
                Vector512.ConditionalSelect(seen, p * (Vector512.Load(dP + c) - d), Vector512<float>.Zero).Store(dP + c);
            }
        }
    }
}
