using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Kernels;

/// <summary>AVX2 and AVX-VNNI: rows 0..7 of a panel in one register (a, y), rows 8..15 in another (c, z).</summary>
internal readonly unsafe struct IntKernel256<TPanel, TDot> : IIntKernel
    where TPanel : struct, IPanel256
    where TDot : struct, IDot256
{
    public static int MaxTokens => 4;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile1(in IntTile tile)
    {
        byte* block = tile.Panel, x = tile.X;
        Vector256<int> start = TDot.Start;
        Vector256<float> y0 = default, z0 = default;
        for (int b = 0; b < tile.Blocks; b++, block += TPanel.BlockBytes, x += Activations.RecordBytes)
        {
            Fetch.Ahead(block, TPanel.BlockBytes);
            Vector256<int> a0 = start, c0 = start;
            Columns1(block, 0, x, ref a0, ref c0);
            Columns1(block, 1, x, ref a0, ref c0);
            Columns1(block, 2, x, ref a0, ref c0);
            Columns1(block, 3, x, ref a0, ref c0);
            TPanel.Scales(tile.Header, block, b, 0, out Vector256<float> d, out Vector256<float> m);
            y0 = Add(y0, a0, d, m, x);
            TPanel.Scales(tile.Header, block, b, 1, out d, out m);
            z0 = Add(z0, c0, d, m, x);
        }
        Store(y0, z0, tile.Y, tile.Accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile2(in IntTile tile)
    {
        byte* block = tile.Panel, x = tile.X;
        Vector256<int> start = TDot.Start;
        Vector256<float> y0 = default, z0 = default, y1 = default, z1 = default;
        for (int b = 0; b < tile.Blocks; b++, block += TPanel.BlockBytes, x += Activations.RecordBytes)
        {
            Fetch.Ahead(block, TPanel.BlockBytes);
            Vector256<int> a0 = start, c0 = start, a1 = start, c1 = start;
            Columns2(block, 0, x, ref a0, ref c0, ref a1, ref c1);
            Columns2(block, 1, x, ref a0, ref c0, ref a1, ref c1);
            Columns2(block, 2, x, ref a0, ref c0, ref a1, ref c1);
            Columns2(block, 3, x, ref a0, ref c0, ref a1, ref c1);
            TPanel.Scales(tile.Header, block, b, 0, out Vector256<float> d, out Vector256<float> m);
            y0 = Add(y0, a0, d, m, x);
            y1 = Add(y1, a1, d, m, x + 4);
            TPanel.Scales(tile.Header, block, b, 1, out d, out m);
            z0 = Add(z0, c0, d, m, x);
            z1 = Add(z1, c1, d, m, x + 4);
        }
        Store(y0, z0, tile.Y, tile.Accumulate);
        Store(y1, z1, tile.Y + tile.YStride, tile.Accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile4(in IntTile tile)
    {
        byte* block = tile.Panel, x = tile.X;
        Vector256<int> start = TDot.Start;
        Vector256<float> y0 = default, z0 = default, y1 = default, z1 = default, y2 = default, z2 = default, y3 = default, z3 = default;
        for (int b = 0; b < tile.Blocks; b++, block += TPanel.BlockBytes, x += Activations.RecordBytes)
        {
            Fetch.Ahead(block, TPanel.BlockBytes);
            Vector256<int> a0 = start, c0 = start, a1 = start, c1 = start, a2 = start, c2 = start, a3 = start, c3 = start;
            Columns4(block, 0, x, ref a0, ref c0, ref a1, ref c1, ref a2, ref c2, ref a3, ref c3);
            Columns4(block, 1, x, ref a0, ref c0, ref a1, ref c1, ref a2, ref c2, ref a3, ref c3);
            Columns4(block, 2, x, ref a0, ref c0, ref a1, ref c1, ref a2, ref c2, ref a3, ref c3);
            Columns4(block, 3, x, ref a0, ref c0, ref a1, ref c1, ref a2, ref c2, ref a3, ref c3);
            TPanel.Scales(tile.Header, block, b, 0, out Vector256<float> d, out Vector256<float> m);
            y0 = Add(y0, a0, d, m, x);
            y1 = Add(y1, a1, d, m, x + 4);
            y2 = Add(y2, a2, d, m, x + 8);
            y3 = Add(y3, a3, d, m, x + 12);
            TPanel.Scales(tile.Header, block, b, 1, out d, out m);
            z0 = Add(z0, c0, d, m, x);
            z1 = Add(z1, c1, d, m, x + 4);
            z2 = Add(z2, c2, d, m, x + 8);
            z3 = Add(z3, c3, d, m, x + 12);
        }
        float* y = tile.Y;
        nint stride = tile.YStride;
        Store(y0, z0, y, tile.Accumulate);
        Store(y1, z1, y + stride, tile.Accumulate);
        Store(y2, z2, y + 2 * stride, tile.Accumulate);
        Store(y3, z3, y + 3 * stride, tile.Accumulate);
    }

    public static void Tile8(in IntTile tile) => throw new NotSupportedException("Tiles of this kernel have at most 4 tokens.");

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen(byte* header, byte* panel, int blocks, byte* wide)
    {
        for (int b = 0; b < blocks; b++, panel += TPanel.BlockBytes, wide += PanelLayout.WideBlockBytes)
            for (int half = 0; half < 2; half++)
            {
                byte* target = wide + 32 * half;
                for (int j = 0; j < 4; j++)
                {
                    TPanel.Codes(panel, j, half, out Vector256<byte> low, out Vector256<byte> high);
                    low.Store(target + 64 * j);
                    high.Store(target + 64 * j + 256);
                }
                TPanel.Scales(header, panel, b, half, out Vector256<float> d, out Vector256<float> m);
                d.Store((float*)(target + PanelLayout.ByteBytes));
                m.Store((float*)(target + PanelLayout.ByteBytes + 64));
            }
    }

    // Column groups j and j + 4 for 1, 2 and 4 tokens; unrolled as in IntKernel512.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Columns1(byte* block, int j, byte* x, ref Vector256<int> a0, ref Vector256<int> c0)
    {
        TPanel.Codes(block, j, 0, out Vector256<byte> low, out Vector256<byte> high);
        TPanel.Codes(block, j, 1, out Vector256<byte> low8, out Vector256<byte> high8);
        a0 = TDot.Add(a0, low, Four(x + 16 * j));
        c0 = TDot.Add(c0, low8, Four(x + 16 * j));
        a0 = TDot.Add(a0, high, Four(x + 16 * j + 64));
        c0 = TDot.Add(c0, high8, Four(x + 16 * j + 64));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Columns2(
        byte* block, int j, byte* x, ref Vector256<int> a0, ref Vector256<int> c0,
        ref Vector256<int> a1, ref Vector256<int> c1)
    {
        TPanel.Codes(block, j, 0, out Vector256<byte> low, out Vector256<byte> high);
        TPanel.Codes(block, j, 1, out Vector256<byte> low8, out Vector256<byte> high8);
        a0 = TDot.Add(a0, low, Four(x + 16 * j));
        c0 = TDot.Add(c0, low8, Four(x + 16 * j));
        a1 = TDot.Add(a1, low, Four(x + 16 * j + 4));
        c1 = TDot.Add(c1, low8, Four(x + 16 * j + 4));
        a0 = TDot.Add(a0, high, Four(x + 16 * j + 64));
        c0 = TDot.Add(c0, high8, Four(x + 16 * j + 64));
        a1 = TDot.Add(a1, high, Four(x + 16 * j + 68));
        c1 = TDot.Add(c1, high8, Four(x + 16 * j + 68));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Columns4(
        byte* block, int j, byte* x, ref Vector256<int> a0, ref Vector256<int> c0, ref Vector256<int> a1, ref Vector256<int> c1,
        ref Vector256<int> a2, ref Vector256<int> c2, ref Vector256<int> a3, ref Vector256<int> c3)
    {
        TPanel.Codes(block, j, 0, out Vector256<byte> low, out Vector256<byte> high);
        TPanel.Codes(block, j, 1, out Vector256<byte> low8, out Vector256<byte> high8);
        a0 = TDot.Add(a0, low, Four(x + 16 * j));
        c0 = TDot.Add(c0, low8, Four(x + 16 * j));
        a1 = TDot.Add(a1, low, Four(x + 16 * j + 4));
        c1 = TDot.Add(c1, low8, Four(x + 16 * j + 4));
        a2 = TDot.Add(a2, low, Four(x + 16 * j + 8));
        c2 = TDot.Add(c2, low8, Four(x + 16 * j + 8));
        a3 = TDot.Add(a3, low, Four(x + 16 * j + 12));
        c3 = TDot.Add(c3, low8, Four(x + 16 * j + 12));
        a0 = TDot.Add(a0, high, Four(x + 16 * j + 64));
        c0 = TDot.Add(c0, high8, Four(x + 16 * j + 64));
        a1 = TDot.Add(a1, high, Four(x + 16 * j + 68));
        c1 = TDot.Add(c1, high8, Four(x + 16 * j + 68));
        a2 = TDot.Add(a2, high, Four(x + 16 * j + 72));
        c2 = TDot.Add(c2, high8, Four(x + 16 * j + 72));
        a3 = TDot.Add(a3, high, Four(x + 16 * j + 76));
        c3 = TDot.Add(c3, high8, Four(x + 16 * j + 76));
    }

    /// <summary>Four columns of one token, for all rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<sbyte> Four(byte* x) => Vector256.Create(*(int*)x).AsSByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<float> Add(Vector256<float> y, Vector256<int> sum, Vector256<float> d, Vector256<float> m, byte* x)
    {
        y = Fma.MultiplyAdd(TDot.Sums(sum), d * Vector256.Create(*(float*)(x + Activations.ScaleOffset)), y);
        return Fma.MultiplyAdd(Vector256.Create(*(float*)(x + Activations.SumOffset)), m, y);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Store(Vector256<float> low, Vector256<float> high, float* y, bool accumulate)
    {
        (accumulate ? Vector256.Load(y) + low : low).Store(y);
        (accumulate ? Vector256.Load(y + 8) + high : high).Store(y + 8);
    }
}
