using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Kernels;

/// <summary>Exact sums of code * int8 over the 32 columns of a block, 16 rows at once.</summary>
internal interface IDot512
{
    /// <summary>Adds the products of four columns. At most 8 calls before <see cref="Sums"/>.</summary>
    static abstract Vector512<int> Add(Vector512<int> sum, Vector512<byte> codes, Vector512<sbyte> x);

    static abstract Vector512<int> Sums(Vector512<int> sum);
}

/// <summary>Codes below 16: eight pairs sum to at most 8 * 2 * 15 * 127 = 30480, which fits 16 bits.</summary>
internal readonly struct NibbleDot512 : IDot512
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Add(Vector512<int> sum, Vector512<byte> codes, Vector512<sbyte> x) =>
        (sum.AsInt16() + Avx512BW.MultiplyAddAdjacent(codes, x)).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Sums(Vector512<int> sum) => Avx512BW.MultiplyAddAdjacent(sum.AsInt16(), Vector512.Create((short)1));
}

/// <summary>Codes below 256, as 16 * high + low: each half is a code below 16, so vpmaddubsw cannot saturate.</summary>
internal readonly struct ByteDot512 : IDot512
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Add(Vector512<int> sum, Vector512<byte> codes, Vector512<sbyte> x)
    {
        Vector512<byte> low = codes & Vector512.Create((byte)15), high = (codes.AsUInt16() >>> 4).AsByte() & Vector512.Create((byte)15);
        return sum
            + Avx512BW.MultiplyAddAdjacent(Avx512BW.MultiplyAddAdjacent(low, x), Vector512.Create((short)1))
            + Avx512BW.MultiplyAddAdjacent(Avx512BW.MultiplyAddAdjacent(high, x), Vector512.Create((short)16));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Sums(Vector512<int> sum) => sum;
}
