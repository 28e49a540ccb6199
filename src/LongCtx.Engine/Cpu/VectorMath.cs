using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Cpu;

/// <summary>
/// Elementary functions on 16 lanes. Written with Vector512, which the JIT maps to AVX-512, to two AVX2 registers or to scalar code:
/// one source, and every lane is computed by the same operations on each.
/// </summary>
internal static unsafe class VectorMath
{
    /// <summary>log2(e): e^x = 2^(x log2 e).</summary>
    public const float Log2E = 1.44269504f;

    /// <summary>
    /// 2^x for x in (-inf, 127]; exactly 0 below -126, so that no denormal number ever appears. Relative error below 2e-7:
    /// x = n + f with |f| at most 1/2, degree-6 minimax polynomial for 2^f.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exp2(Vector512<float> x)
    {
        // Adding 1.5 * 2^23 leaves round(x) in the low bits of the sum.
        Vector512<float> magic = Vector512.Create(12582912f);
        Vector512<float> shifted = x + magic;
        Vector512<float> f = x - (shifted - magic);
        Vector512<float> p = Vector512.Create(1.5353362e-4f);
        p = Vector512.FusedMultiplyAdd(p, f, Vector512.Create(1.3398874e-3f));
        p = Vector512.FusedMultiplyAdd(p, f, Vector512.Create(9.6184373e-3f));
        p = Vector512.FusedMultiplyAdd(p, f, Vector512.Create(5.5503324e-2f));
        p = Vector512.FusedMultiplyAdd(p, f, Vector512.Create(2.4022648e-1f));
        p = Vector512.FusedMultiplyAdd(p, f, Vector512.Create(6.9314720e-1f));
        p = Vector512.FusedMultiplyAdd(p, f, Vector512<float>.One);
        Vector512<int> exponent = Vector512.ShiftLeft(shifted.AsInt32(), 23); // the magic's own bits are shifted out
        Vector512<float> result = (p.AsInt32() + exponent).AsSingle();
        return Vector512.ConditionalSelect(Vector512.LessThan(x, Vector512.Create(-126f)), Vector512<float>.Zero, result);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Exp2(float x) => Exp2(Vector512.Create(x)).ToScalar();

    /// <summary>e^x for x at most 88.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exp(Vector512<float> x) => Exp2(x * Vector512.Create(Log2E));

    /// <summary>
    /// 16 half-precision numbers. .NET has no F16C instruction, but the bits of a half, shifted into place, are the number times 2^-112.
    /// The cache never holds a denormal half (<see cref="StoreHalf"/>), so the shifted number is never a denormal float.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadHalf(ushort* source)
    {
        Vector256<short> bits = Vector256.Load((short*)source);
        Vector512<int> wide;
        if (Avx512F.IsSupported)
        {
            wide = Avx512F.ConvertToVector512Int32(bits);
        }
        else
        {
            (Vector256<int> lower, Vector256<int> upper) = Vector256.Widen(bits);
            wide = Vector512.Create(lower, upper);
        }

        Vector512<int> placed = Vector512.ShiftLeft(wide, 13) & Vector512.Create(unchecked((int)0x8fffe000));
        return placed.AsSingle() * Vector512.Create(5.192296858534828e33f); // 2^112
    }

    /// <summary>Stores 16 numbers as halves: nearest even, clamped to the largest half, magnitudes below 2^-14 become zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreHalf(Vector512<float> value, ushort* destination)
    {
        Vector512<int> bits = value.AsInt32();
        Vector512<int> sign = Vector512.ShiftRightLogical(bits, 16) & Vector512.Create(0x8000);
        Vector512<float> magnitude = Vector512.Min(Vector512.Abs(value), Vector512.Create(65504f));
        Vector512<int> rounding = Vector512.Create(0xfff) + (Vector512.ShiftRightLogical(magnitude.AsInt32(), 13) & Vector512<int>.One);
        Vector512<int> half = Vector512.ShiftRightLogical(magnitude.AsInt32() + rounding, 13) - Vector512.Create(112 << 10);
        half = Vector512.ConditionalSelect(Vector512.LessThan(magnitude, Vector512.Create(6.1035156e-5f)).AsInt32(), Vector512<int>.Zero, half);
        half |= sign;
        if (Avx512F.IsSupported)
            Avx512F.ConvertToVector256UInt16(half.AsUInt32()).Store(destination);
        else
            Vector256.Narrow(half.GetLower().AsUInt32(), half.GetUpper().AsUInt32()).Store(destination);
    }
}
