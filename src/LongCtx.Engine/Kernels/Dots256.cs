using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Kernels;

/// <summary>Exact sums of code * int8 over the 32 columns of a block, 8 rows at once; <see cref="IDot512"/> in 256 bits.</summary>
internal interface IDot256
{
    /// <summary>What <see cref="Add"/> begins with.</summary>
    static abstract Vector256<int> Start { get; }

    /// <summary>Adds the products of four columns. At most 8 calls before <see cref="Sums"/>.</summary>
    static abstract Vector256<int> Add(Vector256<int> sum, Vector256<byte> codes, Vector256<sbyte> x);

    static abstract Vector256<float> Sums(Vector256<int> sum);
}

/// <summary>
/// Sums are integers in the mantissa of a float that starts at 1.5 * 2^23 (|sum| is below 2^20), so that a subtraction, which has its own port,
/// turns them into floats, and not a conversion, which would compete with vpdpbusd.
/// </summary>
internal readonly struct VnniDot256 : IDot256
{
    const float Bias = 12582912f;

    public static Vector256<int> Start
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector256.Create(Bias).AsInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<byte> codes, Vector256<sbyte> x) =>
        AvxVnni.MultiplyWideningAndAdd(sum, codes, x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Sums(Vector256<int> sum) => sum.AsSingle() - Vector256.Create(Bias);
}

/// <summary>As <see cref="NibbleDot512"/>.</summary>
internal readonly struct NibbleDot256 : IDot256
{
    public static Vector256<int> Start => default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<byte> codes, Vector256<sbyte> x) =>
        (sum.AsInt16() + Avx2.MultiplyAddAdjacent(codes, x)).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Sums(Vector256<int> sum) =>
        Vector256.ConvertToSingle(Avx2.MultiplyAddAdjacent(sum.AsInt16(), Vector256.Create((short)1)));
}

/// <summary>As <see cref="ByteDot512"/>.</summary>
internal readonly struct ByteDot256 : IDot256
{
    public static Vector256<int> Start => default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<byte> codes, Vector256<sbyte> x)
    {
        Vector256<byte> low = codes & Vector256.Create((byte)15), high = (codes.AsUInt16() >>> 4).AsByte() & Vector256.Create((byte)15);
        return sum
            + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(low, x), Vector256.Create((short)1))
            + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(high, x), Vector256.Create((short)16));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Sums(Vector256<int> sum) => Vector256.ConvertToSingle(sum);
}
