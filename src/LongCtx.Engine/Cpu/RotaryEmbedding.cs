using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LongCtx.Engine.Cpu;

/// <summary>
/// Rotary position embedding, half-split pairing: dimension i is paired with i + r/2, r = rotated dimensions. Angles are computed in
/// double, whose sine is exact for any argument, so that positions of 10^9 lose no precision; there is no table by position.
/// </summary>
internal sealed unsafe class RotaryEmbedding(double[] inverseFrequencies, double attentionScale)
{
    /// <summary>Half of the rotated dimensions.</summary>
    public int Pairs { get; } = inverseFrequencies.Length;

    /// <summary>cos and sin [pairs] of position × frequency, times the attention scale of YaRN and LongRoPE.</summary>
    public void Angles(long position, float* cos, float* sin) => Angles(position, attentionScale, cos, sin);

    /// <summary>The pure rotation, for a key that is rotated a second time and has its scale already.</summary>
    public void DeltaAngles(long delta, float* cos, float* sin) => Angles(delta, 1, cos, sin);

    void Angles(long position, double scale, float* cos, float* sin)
    {
        for (int i = 0; i < Pairs; i++)
        {
            (double s, double c) = Math.SinCos(position * inverseFrequencies[i]);
            cos[i] = (float)(c * scale);
            sin[i] = (float)(s * scale);
        }
    }

    /// <summary>destination[d] = rotated source[d] × <paramref name="factor"/>; dimensions beyond the rotated ones only take the factor.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rotate(float* source, float* destination, int d, int pairs, float* cos, float* sin, float factor)
    {
        int i = 0;
        Vector512<float> f = Vector512.Create(factor);
        for (; i + 16 <= pairs; i += 16)
        {
            Vector512<float> c = Vector512.Load(cos + i), s = Vector512.Load(sin + i);
            Vector512<float> x = Vector512.Load(source + i) * f, y = Vector512.Load(source + pairs + i) * f;
            Vector512.FusedMultiplyAdd(-y, s, x * c).Store(destination + i);
            Vector512.FusedMultiplyAdd(x, s, y * c).Store(destination + pairs + i);
        }

        for (; i < pairs; i++)
        {
            float x = source[i] * factor, y = source[pairs + i] * factor;
            destination[i] = MathF.FusedMultiplyAdd(-y, sin[i], x * cos[i]);
            destination[pairs + i] = MathF.FusedMultiplyAdd(x, sin[i], y * cos[i]);
        }

        for (i = 2 * pairs; i < d; i++) destination[i] = source[i] * factor;
    }
}
