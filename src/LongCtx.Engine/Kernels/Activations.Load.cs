using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LongCtx.Engine.Kernels;

internal sealed unsafe partial class Activations
{
    // Adding 1.5 * 2^23 leaves the integer nearest to a float (ties to even) in the low bits, the same on every machine.
    const float RoundingBias = 12582912f;
    const float SmallestMaximum = 1e-30f; // below it 127 / max leaves the range of float; such a block counts as zero

    /// <summary>Takes <paramref name="count"/> rows (x + i * stride) as tokens firstToken, ... Different tokens may be loaded by different threads.</summary>
    public void Load(float* x, nint stride, int firstToken, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstToken);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)firstToken + count, Capacity, nameof(count));
        for (int i = 0; i < count; i++, x += stride)
        {
            int token = firstToken + i;
            nint group = token / GroupTokens, slot = token % GroupTokens;
            if (_floats is not null) Spread(x, Cols, (float*)(Floats + group * FloatGroupBytes) + slot);
            if (_codes is not null) Quantize(x, Cols / PanelLayout.BlockColumns, Codes + group * CodeGroupBytes + 4 * slot);
        }
    }

    static void Spread(float* x, int cols, float* target)
    {
        for (int k = 0; k < cols; k++) target[4 * k] = x[k];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Quantize(float* x, int blocks, byte* record)
    {
        for (int b = 0; b < blocks; b++, x += 32, record += RecordBytes)
        {
            Vector256<float> x0 = Vector256.Load(x), x1 = Vector256.Load(x + 8), x2 = Vector256.Load(x + 16), x3 = Vector256.Load(x + 24);
            Vector256<float> larger = Vector256.Max(
                Vector256.Max(Vector256.Abs(x0), Vector256.Abs(x1)), Vector256.Max(Vector256.Abs(x2), Vector256.Abs(x3)));
            float max = MaxOf(larger);
            float d = max > SmallestMaximum ? max / 127f : 0f;
            Vector256<float> inverse = Vector256.Create(max > SmallestMaximum ? 127f / max : 0f);
            Vector256<int> q0 = Round(x0 * inverse), q1 = Round(x1 * inverse), q2 = Round(x2 * inverse), q3 = Round(x3 * inverse);
            int low = Vector256.Sum(q0 + q1), high = Vector256.Sum(q2 + q3);
            Vector256<uint> words = Vector256.Narrow(Vector256.Narrow(q0, q1), Vector256.Narrow(q2, q3)).AsUInt32();
            uint* target = (uint*)record;
            for (int g = 0; g < 8; g++) target[4 * g] = words[g];
            *(float*)(record + ScaleOffset) = d;
            *(float*)(record + SumOffset) = d * (low + high);
            *(float*)(record + LowSumOffset) = d * low;
            *(float*)(record + HighSumOffset) = d * high;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<int> Round(Vector256<float> x) => (x + Vector256.Create(RoundingBias)).AsInt32() - Vector256.Create(RoundingBias).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static float MaxOf(Vector256<float> v)
    {
        Vector128<float> m = Vector128.Max(v.GetLower(), v.GetUpper());
        m = Vector128.Max(m, Vector128.Shuffle(m, Vector128.Create(2, 3, 0, 1)));
        m = Vector128.Max(m, Vector128.Shuffle(m, Vector128.Create(1, 0, 3, 2)));
        return m.ToScalar();
    }
}
