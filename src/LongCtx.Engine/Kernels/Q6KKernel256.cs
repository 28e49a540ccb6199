using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Kernels;

/// <summary>Q6_K in AVX2 and AVX-VNNI: two scales per block, one for each 16 columns; rows 0..7, then rows 8..15 of a panel.</summary>
internal readonly unsafe struct Q6KKernel256<TPanel, TDot> : IIntKernel
    where TPanel : struct, IPanel256
    where TDot : struct, IDot256
{
    public static int MaxTokens => 4;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile1(in IntTile tile)
    {
        for (int half = 0; half < 2; half++)
        {
            byte* block = tile.Panel, x = tile.X;
            Vector256<float> y = default;
            for (int b = 0; b < tile.Blocks; b++, block += TPanel.BlockBytes, x += Activations.RecordBytes)
            {
                Vector256<int> a = TDot.Start, c = TDot.Start;
                for (int j = 0; j < 4; j++)
                {
                    TPanel.Codes(block, j, half, out Vector256<byte> low, out Vector256<byte> high);
                    a = TDot.Add(a, low, Four(x + 16 * j));
                    c = TDot.Add(c, high, Four(x + 16 * j + 64));
                }
                TPanel.Scales(tile.Header, block, b, half, out Vector256<float> d, out Vector256<float> e);
                y = Add(y, a, c, d, e, x);
            }
            Store(tile, 0, half, y);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile2(in IntTile tile)
    {
        IntTile second = tile;
        second.X += 4;
        second.Y += tile.YStride;
        Tile1(tile);
        Tile1(second);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile4(in IntTile tile)
    {
        for (int half = 0; half < 2; half++)
        {
            byte* block = tile.Panel, x = tile.X;
            Vector256<int> start = TDot.Start;
            Vector256<float> y0 = default, y1 = default, y2 = default, y3 = default;
            for (int b = 0; b < tile.Blocks; b++, block += TPanel.BlockBytes, x += Activations.RecordBytes)
            {
                Vector256<int> a0 = start, a1 = start, a2 = start, a3 = start, c0 = start, c1 = start, c2 = start, c3 = start;
                for (int j = 0; j < 4; j++)
                {
                    TPanel.Codes(block, j, half, out Vector256<byte> low, out Vector256<byte> high);
                    byte* xj = x + 16 * j;
                    a0 = TDot.Add(a0, low, Four(xj));
                    a1 = TDot.Add(a1, low, Four(xj + 4));
                    a2 = TDot.Add(a2, low, Four(xj + 8));
                    a3 = TDot.Add(a3, low, Four(xj + 12));
                    c0 = TDot.Add(c0, high, Four(xj + 64));
                    c1 = TDot.Add(c1, high, Four(xj + 68));
                    c2 = TDot.Add(c2, high, Four(xj + 72));
                    c3 = TDot.Add(c3, high, Four(xj + 76));
                }
                TPanel.Scales(tile.Header, block, b, half, out Vector256<float> d, out Vector256<float> e);
                y0 = Add(y0, a0, c0, d, e, x);
                y1 = Add(y1, a1, c1, d, e, x + 4);
                y2 = Add(y2, a2, c2, d, e, x + 8);
                y3 = Add(y3, a3, c3, d, e, x + 12);
            }
            Store(tile, 0, half, y0);
            Store(tile, 1, half, y1);
            Store(tile, 2, half, y2);
            Store(tile, 3, half, y3);
        }
    }

    public static void Tile8(in IntTile tile) => throw new NotSupportedException("Tiles of this kernel have at most 4 tokens.");

    public static void Widen(byte* header, byte* panel, int blocks, byte* wide) =>
        IntKernel256<TPanel, TDot>.Widen(header, panel, blocks, wide);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<sbyte> Four(byte* x) => Vector256.Create(*(int*)x).AsSByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<float> Add(Vector256<float> y, Vector256<int> low, Vector256<int> high, Vector256<float> d, Vector256<float> e, byte* x)
    {
        Vector256<float> dx = Vector256.Create(*(float*)(x + Activations.ScaleOffset));
        y = Fma.MultiplyAdd(TDot.Sums(low), d * dx, y);
        y = Fma.MultiplyAdd(TDot.Sums(high), e * dx, y);
        y = Fma.MultiplyAdd(d * -32f, Vector256.Create(*(float*)(x + Activations.LowSumOffset)), y);
        return Fma.MultiplyAdd(e * -32f, Vector256.Create(*(float*)(x + Activations.HighSumOffset)), y);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Store(in IntTile tile, int token, int half, Vector256<float> sum)
    {
        float* y = tile.Y + token * tile.YStride + 8 * half;
        (tile.Accumulate ? Vector256.Load(y) + sum : sum).Store(y);
    }
}
