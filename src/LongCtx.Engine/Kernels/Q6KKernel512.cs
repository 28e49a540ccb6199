using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Kernels;

/// <summary>Q6_K in AVX-512: two scales per block, one for each 16 columns.</summary>
internal readonly unsafe struct Q6KKernel512<TPanel> : IIntKernel where TPanel : struct, IPanel512
{
    public static int MaxTokens => 4;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile1(in IntTile tile) => Store(tile, 0, Token(tile, 0));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile2(in IntTile tile)
    {
        Store(tile, 0, Token(tile, 0));
        Store(tile, 1, Token(tile, 1));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile4(in IntTile tile)
    {
        byte* block = tile.Panel, x = tile.X;
        Vector512<float> y0 = default, y1 = default, y2 = default, y3 = default;
        for (int b = 0; b < tile.Blocks; b++, block += TPanel.BlockBytes, x += Activations.RecordBytes)
        {
            Vector512<int> a0 = default, a1 = default, a2 = default, a3 = default, c0 = default, c1 = default, c2 = default, c3 = default;
            for (int j = 0; j < 4; j++)
            {
                TPanel.Codes(block, j, out Vector512<byte> low, out Vector512<byte> high);
                byte* xj = x + 16 * j;
                a0 = ByteDot512.Add(a0, low, Four(xj));
                a1 = ByteDot512.Add(a1, low, Four(xj + 4));
                a2 = ByteDot512.Add(a2, low, Four(xj + 8));
                a3 = ByteDot512.Add(a3, low, Four(xj + 12));
                c0 = ByteDot512.Add(c0, high, Four(xj + 64));
                c1 = ByteDot512.Add(c1, high, Four(xj + 68));
                c2 = ByteDot512.Add(c2, high, Four(xj + 72));
                c3 = ByteDot512.Add(c3, high, Four(xj + 76));
            }
            TPanel.Scales(tile.Header, block, b, out Vector512<float> d, out Vector512<float> e);
            y0 = Add(y0, a0, c0, d, e, x);
            y1 = Add(y1, a1, c1, d, e, x + 4);
            y2 = Add(y2, a2, c2, d, e, x + 8);
            y3 = Add(y3, a3, c3, d, e, x + 12);
        }
        Store(tile, 0, y0);
        Store(tile, 1, y1);
        Store(tile, 2, y2);
        Store(tile, 3, y3);
    }

    public static void Tile8(in IntTile tile) => throw new NotSupportedException("Tiles of this kernel have at most 4 tokens.");

    public static void Widen(byte* header, byte* panel, int blocks, byte* wide) =>
        IntKernel512<TPanel, ByteDot512>.Widen(header, panel, blocks, wide);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector512<float> Token(in IntTile tile, int token)
    {
        byte* block = tile.Panel, x = tile.X + 4 * token;
        Vector512<float> y = default;
        for (int b = 0; b < tile.Blocks; b++, block += TPanel.BlockBytes, x += Activations.RecordBytes)
        {
            Vector512<int> a = default, c = default;
            for (int j = 0; j < 4; j++)
            {
                TPanel.Codes(block, j, out Vector512<byte> low, out Vector512<byte> high);
                a = ByteDot512.Add(a, low, Four(x + 16 * j));
                c = ByteDot512.Add(c, high, Four(x + 16 * j + 64));
            }
            TPanel.Scales(tile.Header, block, b, out Vector512<float> d, out Vector512<float> e);
            y = Add(y, a, c, d, e, x);
        }
        return y;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector512<sbyte> Four(byte* x) => Vector512.Create(*(int*)x).AsSByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector512<float> Add(Vector512<float> y, Vector512<int> low, Vector512<int> high, Vector512<float> d, Vector512<float> e, byte* x)
    {
        Vector512<float> dx = Vector512.Create(*(float*)(x + Activations.ScaleOffset));
        y = Avx512F.FusedMultiplyAdd(Vector512.ConvertToSingle(low), d * dx, y);
        y = Avx512F.FusedMultiplyAdd(Vector512.ConvertToSingle(high), e * dx, y);
        y = Avx512F.FusedMultiplyAdd(d * -32f, Vector512.Create(*(float*)(x + Activations.LowSumOffset)), y);
        return Avx512F.FusedMultiplyAdd(e * -32f, Vector512.Create(*(float*)(x + Activations.HighSumOffset)), y);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Store(in IntTile tile, int token, Vector512<float> sum)
    {
        float* y = tile.Y + token * tile.YStride;
        (tile.Accumulate ? Vector512.Load(y) + sum : sum).Store(y);
    }
}
