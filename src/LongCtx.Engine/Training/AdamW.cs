using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LongCtx.Engine.Training;

/// <summary>
/// One step of AdamW (Loshchilov and Hutter, 2019), the factors of its number t worked out once:
/// <code>
/// g = clip × gradient,  m = β1 m + (1 - β1) g,  v = β2 v + (1 - β2) g²
/// p = p (1 - lr decay) - lr / (1 - β1^t) × m / (√v / √(1 - β2^t) + ε)
/// </code>
/// </summary>
internal readonly unsafe struct AdamW(TrainingOptions options, double learningRate, long step, double clip)
{
    readonly float _beta1 = (float)options.Beta1, _rest1 = (float)(1 - options.Beta1), _beta2 = (float)options.Beta2, _rest2 = (float)(1 - options.Beta2);
    readonly float _keep = (float)(1 - learningRate * options.WeightDecay), _epsilon = (float)options.Epsilon, _clip = (float)clip;
    readonly float _rate = (float)(learningRate / (1 - Math.Pow(options.Beta1, step)));
    readonly float _correction = (float)(1 / Math.Sqrt(1 - Math.Pow(options.Beta2, step)));

    /// <summary>All arrays are [n].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Update(float* p, float* gradient, float* m, float* v, long n)
    {
        long i = 0;
        for (; i + 16 <= n; i += 16)
        {
            Vector512<float> g = Vector512.Load(gradient + i) * _clip;
            Vector512<float> m16 = Vector512.Load(m + i) * _beta1 + g * _rest1, v16 = Vector512.Load(v + i) * _beta2 + g * g * _rest2;
            m16.Store(m + i);
            v16.Store(v + i);
            Vector512<float> root = Vector512.Sqrt(v16) * _correction + Vector512.Create(_epsilon);
            (Vector512.Load(p + i) * _keep - m16 * _rate / root).Store(p + i);
        }

        for (; i < n; i++)
        {
            float g = gradient[i] * _clip;
            m[i] = m[i] * _beta1 + g * _rest1;
            v[i] = v[i] * _beta2 + g * g * _rest2;
            p[i] = p[i] * _keep - m[i] * _rate / (MathF.Sqrt(v[i]) * _correction + _epsilon);
        }
    }

    /// <summary>Σ x² of up to a few thousand numbers; not finite if any of them is not.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static double SquaredNorm(float* x, long n)
    {
        Vector512<double> low = default, high = default;
        long i = 0;
        for (; i + 16 <= n; i += 16)
        {
            (Vector512<double> a, Vector512<double> b) = Vector512.Widen(Vector512.Load(x + i));
            low += a * a;
            high += b * b;
        }

        double sum = Vector512.Sum(low + high);
        for (; i < n; i++) sum += (double)x[i] * x[i];
        return sum;
    }
}
