using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LongCtx.Engine.Cpu;

/// <summary>Row-wise kernels of the transformer. Rows are any length; the order of every sum is fixed by the length alone.</summary>
internal static unsafe class Elementwise
{
    /// <summary>y = x / rms(x) * weight, rms(x) = sqrt(mean(x²) + eps). May be in place.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void RmsNorm(float* x, float* weight, float* y, int n, float eps)
    {
        Vector512<float> squares = default;
        int i = 0;
        for (; i + 16 <= n; i += 16)
        {
            Vector512<float> v = Vector512.Load(x + i);
            squares = Vector512.FusedMultiplyAdd(v, v, squares);
        }

        float sum = Vector512.Sum(squares);
        for (; i < n; i++) sum = MathF.FusedMultiplyAdd(x[i], x[i], sum);
        float factor = 1 / MathF.Sqrt(sum / n + eps);
        Vector512<float> f = Vector512.Create(factor);
        for (i = 0; i + 16 <= n; i += 16) (Vector512.Load(x + i) * f * Vector512.Load(weight + i)).Store(y + i);
        for (; i < n; i++) y[i] = x[i] * factor * weight[i];
    }

    /// <summary>y = (x - mean) / sqrt(variance + eps) * weight + bias. May be in place.</summary>
    public static void LayerNorm(float* x, float* weight, float* bias, float* y, int n, float eps)
    {
        double sum = 0, squares = 0;
        for (int i = 0; i < n; i++) sum += x[i];
        double mean = sum / n;
        for (int i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
        float factor = (float)(1 / Math.Sqrt(squares / n + eps)), m = (float)mean;
        for (int i = 0; i < n; i++) y[i] = (x[i] - m) * factor * weight[i] + bias[i];
    }

    /// <summary>x = x/2 (1 + erf(x/√2)), in place; erf after Abramowitz and Stegun 7.1.26, absolute error below 2e-7.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gelu(float* x, int n)
    {
        int i = 0;
        for (; i + 16 <= n; i += 16) Gelu(Vector512.Load(x + i)).Store(x + i);
        for (; i < n; i++) x[i] = Gelu(Vector512.Create(x[i])).ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector512<float> Gelu(Vector512<float> x)
    {
        Vector512<float> z = Vector512.Abs(x) * Vector512.Create(0.70710678f);
        Vector512<float> t = Vector512<float>.One / Vector512.FusedMultiplyAdd(z, Vector512.Create(0.3275911f), Vector512<float>.One);
        Vector512<float> p = Vector512.Create(1.061405429f);
        p = Vector512.FusedMultiplyAdd(p, t, Vector512.Create(-1.453152027f));
        p = Vector512.FusedMultiplyAdd(p, t, Vector512.Create(1.421413741f));
        p = Vector512.FusedMultiplyAdd(p, t, Vector512.Create(-0.284496736f));
        p = Vector512.FusedMultiplyAdd(p, t, Vector512.Create(0.254829592f));
        Vector512<float> tail = p * t * VectorMath.Exp(-z * z); // 1 - erf(z)
        Vector512<float> half = x * Vector512.Create(0.5f);
        Vector512<float> negative = half * tail, positive = x - negative;
        return Vector512.ConditionalSelect(Vector512.GreaterThanOrEqual(x, Vector512<float>.Zero), positive, negative);
    }

    /// <summary>SwiGLU: y = silu(gate) * up, silu(x) = x / (1 + e^-x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void SwiGlu(float* gate, float* up, float* y, int n)
    {
        int i = 0;
        for (; i + 16 <= n; i += 16) SwiGlu(Vector512.Load(gate + i), Vector512.Load(up + i)).Store(y + i);
        if (i == n) return;
        float* tail = stackalloc float[48];
        for (int j = 0; j < n - i; j++)
        {
            tail[j] = gate[i + j];
            tail[16 + j] = up[i + j];
        }

        SwiGlu(Vector512.Load(tail), Vector512.Load(tail + 16)).Store(tail + 32);
        for (int j = 0; j < n - i; j++) y[i + j] = tail[32 + j];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector512<float> SwiGlu(Vector512<float> gate, Vector512<float> up)
    {
        // Below -87 e^-x is past the float range, and silu(x) is -0 to within 1e-36: the clamp keeps 2^x in range.
        Vector512<float> e = VectorMath.Exp(-Vector512.Max(gate, Vector512.Create(-87f)));
        return gate / (Vector512<float>.One + e) * up;
    }

    /// <summary>y += x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Add(float* x, float* y, int n)
    {
        int i = 0;
        for (; i + 16 <= n; i += 16) (Vector512.Load(y + i) + Vector512.Load(x + i)).Store(y + i);
        for (; i < n; i++) y[i] += x[i];
    }

    /// <summary>log Σ e^x in nats: max + log of a sum taken in double.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float LogSumExp(float* x, int n)
    {
        Vector512<float> top = Vector512.Create(float.NegativeInfinity);
        int i = 0;
        for (; i + 16 <= n; i += 16) top = Vector512.Max(top, Vector512.Load(x + i));
        float max = float.NegativeInfinity;
        for (int j = 0; j < 16; j++) max = Math.Max(max, top[j]);
        for (; i < n; i++) max = Math.Max(max, x[i]);

        double sum = 0;
        Vector512<float> shift = Vector512.Create(max);
        for (i = 0; i + 16 <= n;)
        {
            Vector512<float> part = default; // short float sums, added up in double
            for (int end = Math.Min(n - 15, i + 1024); i < end; i += 16) part += VectorMath.Exp(Vector512.Load(x + i) - shift);
            sum += Vector512.Sum(part);
        }

        for (; i < n; i++) sum += Math.Exp(x[i] - (double)max);
        return (float)(max + Math.Log(sum));
    }
}
