using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Kernels;

/// <summary>Reads two columns of a panel of 16 rows as f32.</summary>
internal unsafe interface IFloatPanel512
{
    static abstract int PairBytes { get; }

    static abstract void Pair(byte* pair, out Vector512<float> even, out Vector512<float> odd);
}

internal readonly unsafe struct F32Panel512 : IFloatPanel512
{
    public static int PairBytes => 128;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* pair, out Vector512<float> even, out Vector512<float> odd)
    {
        even = Vector512.Load((float*)pair);
        odd = Vector512.Load((float*)pair + 16);
    }
}

internal readonly unsafe struct F16Panel512 : IFloatPanel512
{
    public static int PairBytes => 64;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* pair, out Vector512<float> even, out Vector512<float> odd) => Panel512.HalfPairs(pair, out even, out odd);
}

internal readonly unsafe struct BF16Panel512 : IFloatPanel512
{
    public static int PairBytes => 64;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* pair, out Vector512<float> even, out Vector512<float> odd)
    {
        Vector512<int> both = Vector512.Load((int*)pair);
        even = (both << 16).AsSingle();
        odd = (both & Vector512.Create(unchecked((int)0xFFFF0000))).AsSingle();
    }
}

/// <summary>AVX-512: the 16 rows of a panel are the 16 lanes of a register.</summary>
internal readonly unsafe struct FloatKernel512<TPanel> : IFloatKernel where TPanel : struct, IFloatPanel512
{
    public static int SinglePanels => 4;

    public static int TilePanels => 2;

    public static int MaxTokens => 8;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile1(in FloatTile tile)
    {
        byte* w0 = tile.Panel(0), w1 = tile.Panel(1), w2 = tile.Panel(2), w3 = tile.Panel(3), x = tile.X;
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default;
        nint end = (nint)tile.Pairs * TPanel.PairBytes;
        for (nint k = 0; k < end; k += TPanel.PairBytes, x += 32)
        {
            Vector512<float> x0 = One(x), x1 = One(x + 16);
            TPanel.Pair(w0 + k, out Vector512<float> even, out Vector512<float> odd);
            a0 = Add(odd, x1, Add(even, x0, a0));
            TPanel.Pair(w1 + k, out even, out odd);
            a1 = Add(odd, x1, Add(even, x0, a1));
            TPanel.Pair(w2 + k, out even, out odd);
            a2 = Add(odd, x1, Add(even, x0, a2));
            TPanel.Pair(w3 + k, out even, out odd);
            a3 = Add(odd, x1, Add(even, x0, a3));
        }
        Store(a0, tile.Y, tile.Accumulate);
        Store(a1, tile.Y + 16, tile.Accumulate);
        Store(a2, tile.Y + 32, tile.Accumulate);
        Store(a3, tile.Y + 48, tile.Accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile4(in FloatTile tile)
    {
        byte* w = tile.Panel(0), x = tile.X;
        nint next = (nint)(tile.Panel(1) - w);
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        for (int k = tile.Pairs; k > 0; k--, w += TPanel.PairBytes, x += 32)
        {
            TPanel.Pair(w, out Vector512<float> even, out Vector512<float> odd);
            TPanel.Pair(w + next, out Vector512<float> even1, out Vector512<float> odd1);
            Vector512<float> x0 = One(x), x1 = One(x + 4), x2 = One(x + 8), x3 = One(x + 12);
            a0 = Add(even, x0, a0);
            a1 = Add(even, x1, a1);
            a2 = Add(even, x2, a2);
            a3 = Add(even, x3, a3);
            b0 = Add(even1, x0, b0);
            b1 = Add(even1, x1, b1);
            b2 = Add(even1, x2, b2);
            b3 = Add(even1, x3, b3);
            x0 = One(x + 16);
            x1 = One(x + 20);
            x2 = One(x + 24);
            x3 = One(x + 28);
            a0 = Add(odd, x0, a0);
            a1 = Add(odd, x1, a1);
            a2 = Add(odd, x2, a2);
            a3 = Add(odd, x3, a3);
            b0 = Add(odd1, x0, b0);
            b1 = Add(odd1, x1, b1);
            b2 = Add(odd1, x2, b2);
            b3 = Add(odd1, x3, b3);
        }
        Store(a0, b0, tile, 0);
        Store(a1, b1, tile, 1);
        Store(a2, b2, tile, 2);
        Store(a3, b3, tile, 3);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile8(in FloatTile tile)
    {
        byte* w = tile.Panel(0), x = tile.X;
        nint next = (nint)(tile.Panel(1) - w), group = (nint)(tile.X1 - x);
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
        Vector512<float> b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
        for (int k = tile.Pairs; k > 0; k--, w += TPanel.PairBytes, x += 32)
        {
            TPanel.Pair(w, out Vector512<float> even, out Vector512<float> odd);
            TPanel.Pair(w + next, out Vector512<float> even1, out Vector512<float> odd1);
            byte* z = x + group;
            Vector512<float> x0 = One(x), x1 = One(x + 4), x2 = One(x + 8), x3 = One(x + 12);
            a0 = Add(even, x0, a0);
            b0 = Add(even1, x0, b0);
            a1 = Add(even, x1, a1);
            b1 = Add(even1, x1, b1);
            a2 = Add(even, x2, a2);
            b2 = Add(even1, x2, b2);
            a3 = Add(even, x3, a3);
            b3 = Add(even1, x3, b3);
            x0 = One(z);
            x1 = One(z + 4);
            x2 = One(z + 8);
            x3 = One(z + 12);
            a4 = Add(even, x0, a4);
            b4 = Add(even1, x0, b4);
            a5 = Add(even, x1, a5);
            b5 = Add(even1, x1, b5);
            a6 = Add(even, x2, a6);
            b6 = Add(even1, x2, b6);
            a7 = Add(even, x3, a7);
            b7 = Add(even1, x3, b7);
            x0 = One(x + 16);
            x1 = One(x + 20);
            x2 = One(x + 24);
            x3 = One(x + 28);
            a0 = Add(odd, x0, a0);
            b0 = Add(odd1, x0, b0);
            a1 = Add(odd, x1, a1);
            b1 = Add(odd1, x1, b1);
            a2 = Add(odd, x2, a2);
            b2 = Add(odd1, x2, b2);
            a3 = Add(odd, x3, a3);
            b3 = Add(odd1, x3, b3);
            x0 = One(z + 16);
            x1 = One(z + 20);
            x2 = One(z + 24);
            x3 = One(z + 28);
            a4 = Add(odd, x0, a4);
            b4 = Add(odd1, x0, b4);
            a5 = Add(odd, x1, a5);
            b5 = Add(odd1, x1, b5);
            a6 = Add(odd, x2, a6);
            b6 = Add(odd1, x2, b6);
            a7 = Add(odd, x3, a7);
            b7 = Add(odd1, x3, b7);
        }
        Store(a0, b0, tile, 0);
        Store(a1, b1, tile, 1);
        Store(a2, b2, tile, 2);
        Store(a3, b3, tile, 3);
        Store(a4, b4, tile, 4);
        Store(a5, b5, tile, 5);
        Store(a6, b6, tile, 6);
        Store(a7, b7, tile, 7);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen(byte* panel, int pairs, float* wide)
    {
        for (; pairs > 0; pairs--, panel += TPanel.PairBytes, wide += 32)
        {
            TPanel.Pair(panel, out Vector512<float> even, out Vector512<float> odd);
            even.Store(wide);
            odd.Store(wide + 16);
        }
    }

    /// <summary>One column of one token, for all rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector512<float> One(byte* x) => Vector512.Create(*(float*)x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector512<float> Add(Vector512<float> w, Vector512<float> x, Vector512<float> sum) => Avx512F.FusedMultiplyAdd(w, x, sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Store(Vector512<float> first, Vector512<float> second, in FloatTile tile, int token)
    {
        float* y = tile.Y + token * tile.YStride;
        Store(first, y, tile.Accumulate);
        Store(second, y + PanelLayout.Rows, tile.Accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Store(Vector512<float> sum, float* y, bool accumulate) => (accumulate ? Vector512.Load(y) + sum : sum).Store(y);
}
