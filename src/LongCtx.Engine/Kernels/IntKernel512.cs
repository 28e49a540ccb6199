using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Kernels;

/// <summary>AVX-512: the 16 rows of a panel are the 16 lanes of a register.</summary>
internal readonly unsafe struct IntKernel512<TPanel, TDot> : IIntKernel
    where TPanel : struct, IPanel512
    where TDot : struct, IDot512
{
    public static int MaxTokens => 8;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile1(in IntTile tile)
    {
        byte* block = tile.Panel, x = tile.X;
        Vector512<float> y0 = default;
        for (int b = 0; b < tile.Blocks; b++, block += TPanel.BlockBytes, x += Activations.RecordBytes)
        {
            Fetch.Ahead(block, TPanel.BlockBytes);
            Vector512<int> a0 = default;
            Columns1(block, 0, x, ref a0);
            Columns1(block, 1, x, ref a0);
            Columns1(block, 2, x, ref a0);
            Columns1(block, 3, x, ref a0);
            TPanel.Scales(tile.Header, block, b, out Vector512<float> d, out Vector512<float> m);
            y0 = Add(y0, a0, d, m, x);
        }
        Store(y0, tile.Y, tile.Accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile2(in IntTile tile)
    {
        byte* block = tile.Panel, x = tile.X;
        Vector512<float> y0 = default, y1 = default;
        for (int b = 0; b < tile.Blocks; b++, block += TPanel.BlockBytes, x += Activations.RecordBytes)
        {
            Fetch.Ahead(block, TPanel.BlockBytes);
            Vector512<int> a0 = default, a1 = default;
            Columns2(block, 0, x, ref a0, ref a1);
            Columns2(block, 1, x, ref a0, ref a1);
            Columns2(block, 2, x, ref a0, ref a1);
            Columns2(block, 3, x, ref a0, ref a1);
            TPanel.Scales(tile.Header, block, b, out Vector512<float> d, out Vector512<float> m);
            y0 = Add(y0, a0, d, m, x);
            y1 = Add(y1, a1, d, m, x + 4);
        }
        Store(y0, tile.Y, tile.Accumulate);
        Store(y1, tile.Y + tile.YStride, tile.Accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile4(in IntTile tile)
    {
        byte* block = tile.Panel, x = tile.X;
        Vector512<float> y0 = default, y1 = default, y2 = default, y3 = default;
        for (int b = 0; b < tile.Blocks; b++, block += TPanel.BlockBytes, x += Activations.RecordBytes)
        {
            Fetch.Ahead(block, TPanel.BlockBytes);
            Vector512<int> a0 = default, a1 = default, a2 = default, a3 = default;
            Columns4(block, 0, x, ref a0, ref a1, ref a2, ref a3);
            Columns4(block, 1, x, ref a0, ref a1, ref a2, ref a3);
            Columns4(block, 2, x, ref a0, ref a1, ref a2, ref a3);
            Columns4(block, 3, x, ref a0, ref a1, ref a2, ref a3);
            TPanel.Scales(tile.Header, block, b, out Vector512<float> d, out Vector512<float> m);
            y0 = Add(y0, a0, d, m, x);
            y1 = Add(y1, a1, d, m, x + 4);
            y2 = Add(y2, a2, d, m, x + 8);
            y3 = Add(y3, a3, d, m, x + 12);
        }
        float* y = tile.Y;
        nint stride = tile.YStride;
        Store(y0, y, tile.Accumulate);
        Store(y1, y + stride, tile.Accumulate);
        Store(y2, y + 2 * stride, tile.Accumulate);
        Store(y3, y + 3 * stride, tile.Accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile8(in IntTile tile)
    {
        byte* block = tile.Panel, x = tile.X;
        nint group = (nint)(tile.X1 - x);
        Vector512<float> y0 = default, y1 = default, y2 = default, y3 = default, y4 = default, y5 = default, y6 = default, y7 = default;
        for (int b = 0; b < tile.Blocks; b++, block += TPanel.BlockBytes, x += Activations.RecordBytes)
        {
            byte* z = x + group;
            Vector512<int> a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
            Columns8(block, 0, x, z, ref a0, ref a1, ref a2, ref a3, ref a4, ref a5, ref a6, ref a7);
            Columns8(block, 1, x, z, ref a0, ref a1, ref a2, ref a3, ref a4, ref a5, ref a6, ref a7);
            Columns8(block, 2, x, z, ref a0, ref a1, ref a2, ref a3, ref a4, ref a5, ref a6, ref a7);
            Columns8(block, 3, x, z, ref a0, ref a1, ref a2, ref a3, ref a4, ref a5, ref a6, ref a7);
            TPanel.Scales(tile.Header, block, b, out Vector512<float> d, out Vector512<float> m);
            y0 = Add(y0, a0, d, m, x);
            y1 = Add(y1, a1, d, m, x + 4);
            y2 = Add(y2, a2, d, m, x + 8);
            y3 = Add(y3, a3, d, m, x + 12);
            y4 = Add(y4, a4, d, m, z);
            y5 = Add(y5, a5, d, m, z + 4);
            y6 = Add(y6, a6, d, m, z + 8);
            y7 = Add(y7, a7, d, m, z + 12);
        }
        float* y = tile.Y;
        nint stride = tile.YStride;
        Store(y0, y, tile.Accumulate);
        Store(y1, y + stride, tile.Accumulate);
        Store(y2, y + 2 * stride, tile.Accumulate);
        Store(y3, y + 3 * stride, tile.Accumulate);
        y += 4 * stride;
        Store(y4, y, tile.Accumulate);
        Store(y5, y + stride, tile.Accumulate);
        Store(y6, y + 2 * stride, tile.Accumulate);
        Store(y7, y + 3 * stride, tile.Accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen(byte* header, byte* panel, int blocks, byte* wide)
    {
        for (int b = 0; b < blocks; b++, panel += TPanel.BlockBytes, wide += PanelLayout.WideBlockBytes)
        {
            Fetch.Ahead(panel, TPanel.BlockBytes);
            for (int j = 0; j < 4; j++)
            {
                TPanel.Codes(panel, j, out Vector512<byte> low, out Vector512<byte> high);
                low.Store(wide + 64 * j);
                high.Store(wide + 64 * j + 256);
            }
            TPanel.Scales(header, panel, b, out Vector512<float> d, out Vector512<float> m);
            d.Store((float*)(wide + PanelLayout.ByteBytes));
            m.Store((float*)(wide + PanelLayout.ByteBytes + 64));
        }
    }

    // Column groups j and j + 4 for 1, 2, 4 and 8 tokens. Loops over j would cost as many address instructions as there are spare ports.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Columns1(byte* block, int j, byte* x, ref Vector512<int> a0)
    {
        TPanel.Codes(block, j, out Vector512<byte> low, out Vector512<byte> high);
        a0 = TDot.Add(a0, low, Four(x + 16 * j));
        a0 = TDot.Add(a0, high, Four(x + 16 * j + 64));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Columns2(byte* block, int j, byte* x, ref Vector512<int> a0, ref Vector512<int> a1)
    {
        TPanel.Codes(block, j, out Vector512<byte> low, out Vector512<byte> high);
        a0 = TDot.Add(a0, low, Four(x + 16 * j));
        a1 = TDot.Add(a1, low, Four(x + 16 * j + 4));
        a0 = TDot.Add(a0, high, Four(x + 16 * j + 64));
        a1 = TDot.Add(a1, high, Four(x + 16 * j + 68));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Columns4(
        byte* block, int j, byte* x, ref Vector512<int> a0, ref Vector512<int> a1,
        ref Vector512<int> a2, ref Vector512<int> a3)
    {
        TPanel.Codes(block, j, out Vector512<byte> low, out Vector512<byte> high);
        a0 = TDot.Add(a0, low, Four(x + 16 * j));
        a1 = TDot.Add(a1, low, Four(x + 16 * j + 4));
        a2 = TDot.Add(a2, low, Four(x + 16 * j + 8));
        a3 = TDot.Add(a3, low, Four(x + 16 * j + 12));
        a0 = TDot.Add(a0, high, Four(x + 16 * j + 64));
        a1 = TDot.Add(a1, high, Four(x + 16 * j + 68));
        a2 = TDot.Add(a2, high, Four(x + 16 * j + 72));
        a3 = TDot.Add(a3, high, Four(x + 16 * j + 76));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Columns8(
        byte* block, int j, byte* x, byte* z, ref Vector512<int> a0, ref Vector512<int> a1, ref Vector512<int> a2, ref Vector512<int> a3,
        ref Vector512<int> a4, ref Vector512<int> a5, ref Vector512<int> a6, ref Vector512<int> a7)
    {
        TPanel.Codes(block, j, out Vector512<byte> low, out Vector512<byte> high);
        a0 = TDot.Add(a0, low, Four(x + 16 * j));
        a1 = TDot.Add(a1, low, Four(x + 16 * j + 4));
        a2 = TDot.Add(a2, low, Four(x + 16 * j + 8));
        a3 = TDot.Add(a3, low, Four(x + 16 * j + 12));
        a4 = TDot.Add(a4, low, Four(z + 16 * j));
        a5 = TDot.Add(a5, low, Four(z + 16 * j + 4));
        a6 = TDot.Add(a6, low, Four(z + 16 * j + 8));
        a7 = TDot.Add(a7, low, Four(z + 16 * j + 12));
        a0 = TDot.Add(a0, high, Four(x + 16 * j + 64));
        a1 = TDot.Add(a1, high, Four(x + 16 * j + 68));
        a2 = TDot.Add(a2, high, Four(x + 16 * j + 72));
        a3 = TDot.Add(a3, high, Four(x + 16 * j + 76));
        a4 = TDot.Add(a4, high, Four(z + 16 * j + 64));
        a5 = TDot.Add(a5, high, Four(z + 16 * j + 68));
        a6 = TDot.Add(a6, high, Four(z + 16 * j + 72));
        a7 = TDot.Add(a7, high, Four(z + 16 * j + 76));
    }

    /// <summary>Four columns of one token, for all rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector512<sbyte> Four(byte* x) => Vector512.Create(*(int*)x).AsSByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector512<float> Add(Vector512<float> y, Vector512<int> sum, Vector512<float> d, Vector512<float> m, byte* x)
    {
        Vector512<float> product = Vector512.ConvertToSingle(TDot.Sums(sum));
        y = Avx512F.FusedMultiplyAdd(product, d * Vector512.Create(*(float*)(x + Activations.ScaleOffset)), y);
        return Avx512F.FusedMultiplyAdd(Vector512.Create(*(float*)(x + Activations.SumOffset)), m, y);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Store(Vector512<float> sum, float* y, bool accumulate) =>
        (accumulate ? Vector512.Load(y) + sum : sum).Store(y);
}
