using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Kernels;

/// <summary>Reads two columns of rows 0..7 (half 0) or 8..15 (half 1) of a panel as f32.</summary>
internal unsafe interface IFloatPanel256
{
    static abstract int PairBytes { get; }

    static abstract void Pair(byte* pair, int half, out Vector256<float> even, out Vector256<float> odd);
}

internal readonly unsafe struct F32Panel256 : IFloatPanel256
{
    public static int PairBytes => 128;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* pair, int half, out Vector256<float> even, out Vector256<float> odd)
    {
        even = Vector256.Load((float*)pair + 8 * half);
        odd = Vector256.Load((float*)pair + 16 + 8 * half);
    }
}

internal readonly unsafe struct F16Panel256 : IFloatPanel256
{
    public static int PairBytes => 64;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* pair, int half, out Vector256<float> even, out Vector256<float> odd) =>
        Panel256.HalfPairs(pair, half, out even, out odd);
}

internal readonly unsafe struct BF16Panel256 : IFloatPanel256
{
    public static int PairBytes => 64;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* pair, int half, out Vector256<float> even, out Vector256<float> odd)
    {
        Vector256<int> both = Vector256.Load((int*)pair + 8 * half);
        even = (both << 16).AsSingle();
        odd = (both & Vector256.Create(unchecked((int)0xFFFF0000))).AsSingle();
    }
}

/// <summary>AVX2: rows 0..7 of a panel in one register (a), rows 8..15 in another (b).</summary>
internal readonly unsafe struct FloatKernel256<TPanel> : IFloatKernel where TPanel : struct, IFloatPanel256
{
    public static int SinglePanels => 2;

    public static int TilePanels => 1;

    public static int MaxTokens => 4;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile1(in FloatTile tile)
    {
        byte* w0 = tile.Panel(0), w1 = tile.Panel(1), x = tile.X;
        Vector256<float> a0 = default, b0 = default, a1 = default, b1 = default;
        for (int k = tile.Pairs; k > 0; k--, w0 += TPanel.PairBytes, w1 += TPanel.PairBytes, x += 32)
        {
            Vector256<float> x0 = One(x), x1 = One(x + 16);
            TPanel.Pair(w0, 0, out Vector256<float> even, out Vector256<float> odd);
            a0 = Add(odd, x1, Add(even, x0, a0));
            TPanel.Pair(w0, 1, out even, out odd);
            b0 = Add(odd, x1, Add(even, x0, b0));
            TPanel.Pair(w1, 0, out even, out odd);
            a1 = Add(odd, x1, Add(even, x0, a1));
            TPanel.Pair(w1, 1, out even, out odd);
            b1 = Add(odd, x1, Add(even, x0, b1));
        }
        Store(a0, b0, tile.Y, tile.Accumulate);
        Store(a1, b1, tile.Y + PanelLayout.Rows, tile.Accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile4(in FloatTile tile)
    {
        byte* w = tile.Panels, x = tile.X;
        Vector256<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        for (int k = tile.Pairs; k > 0; k--, w += TPanel.PairBytes, x += 32)
        {
            TPanel.Pair(w, 0, out Vector256<float> even, out Vector256<float> odd);
            TPanel.Pair(w, 1, out Vector256<float> even8, out Vector256<float> odd8);
            Vector256<float> xk = One(x);
            a0 = Add(even, xk, a0);
            b0 = Add(even8, xk, b0);
            xk = One(x + 4);
            a1 = Add(even, xk, a1);
            b1 = Add(even8, xk, b1);
            xk = One(x + 8);
            a2 = Add(even, xk, a2);
            b2 = Add(even8, xk, b2);
            xk = One(x + 12);
            a3 = Add(even, xk, a3);
            b3 = Add(even8, xk, b3);
            xk = One(x + 16);
            a0 = Add(odd, xk, a0);
            b0 = Add(odd8, xk, b0);
            xk = One(x + 20);
            a1 = Add(odd, xk, a1);
            b1 = Add(odd8, xk, b1);
            xk = One(x + 24);
            a2 = Add(odd, xk, a2);
            b2 = Add(odd8, xk, b2);
            xk = One(x + 28);
            a3 = Add(odd, xk, a3);
            b3 = Add(odd8, xk, b3);
        }
        float* y = tile.Y;
        nint stride = tile.YStride;
        Store(a0, b0, y, tile.Accumulate);
        Store(a1, b1, y + stride, tile.Accumulate);
        Store(a2, b2, y + 2 * stride, tile.Accumulate);
        Store(a3, b3, y + 3 * stride, tile.Accumulate);
    }

    public static void Tile8(in FloatTile tile) => throw new NotSupportedException("Tiles of this kernel have at most 4 tokens.");

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen(byte* panel, int pairs, float* wide)
    {
        for (; pairs > 0; pairs--, panel += TPanel.PairBytes, wide += 32)
            for (int half = 0; half < 2; half++)
            {
                TPanel.Pair(panel, half, out Vector256<float> even, out Vector256<float> odd);
                even.Store(wide + 8 * half);
                odd.Store(wide + 16 + 8 * half);
            }
    }

    /// <summary>One column of one token, for all rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<float> One(byte* x) => Vector256.Create(*(float*)x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<float> Add(Vector256<float> w, Vector256<float> x, Vector256<float> sum) => Fma.MultiplyAdd(w, x, sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Store(Vector256<float> low, Vector256<float> high, float* y, bool accumulate)
    {
        (accumulate ? Vector256.Load(y) + low : low).Store(y);
        (accumulate ? Vector256.Load(y + 8) + high : high).Store(y + 8);
    }
}
