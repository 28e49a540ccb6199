using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LongCtx.Engine.Training;

/// <summary>A left operand: element (row, column) lies at data[row × RowStride + column × ColumnStride].</summary>
internal readonly unsafe struct MatrixView(float* data, nint rowStride, nint columnStride = 1)
{
    public float* Data { get; } = data;

    public nint RowStride { get; } = rowStride;

    public nint ColumnStride { get; } = columnStride;
}

/// <summary>
/// A right operand, 16 columns of a row side by side: column n of row k lies at data[n / 16 × PanelStride + k × RowStride + n % 16]. Row-major
/// matrices have a panel stride of 16.
/// </summary>
internal readonly unsafe struct PanelView(float* data, nint rowStride, nint panelStride = 16)
{
    public float* Data { get; } = data;

    public nint RowStride { get; } = rowStride;

    public nint PanelStride { get; } = panelStride;
}

/// <summary>
/// The one product of training in single precision: c[rows, columns] (+)= a[rows, inner] b[inner, columns]. A tile of c stays in registers
/// while inner passes, and every element is one chain c = fma(a, b, c) in the order of inner, so that its bits depend neither on how rows and
/// columns are shared out nor on how inner is cut into calls that accumulate.
/// </summary>
internal static unsafe class Gemm
{
    /// <summary>128 rows of two panels are 16 KiB: they stay in the first-level cache while the rows of a pass.</summary>
    const int InnerBlock = 128;

    const int Lanes = 16;

    /// <summary>Tiles stay methods of their own: inlined into a long caller, their accumulators end up on the stack.</summary>
    const MethodImplOptions Kernel = MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization;

    [SkipLocalsInit]
    public static void Multiply(MatrixView a, PanelView b, float* c, nint cStride, int rows, int columns, int inner, bool accumulate = false)
    {
        float* panel = stackalloc float[InnerBlock * Lanes], tile = stackalloc float[8 * Lanes];
        for (int k = 0; k < inner; k += InnerBlock, accumulate = true)
        {
            int count = Math.Min(InnerBlock, inner - k), n = 0;
            float* left = a.Data + k * a.ColumnStride, right = b.Data + k * b.RowStride;
            if (Vector512.IsHardwareAccelerated)
                for (; n + 2 * Lanes <= columns; n += 2 * Lanes)
                {
                    int row = 0;
                    for (; row + 8 <= rows; row += 8)
                        Tile8x2(left + row * a.RowStride, a, right + n / Lanes * b.PanelStride, b, c + row * cStride + n, cStride, count, accumulate);
                    Strip(left, a, row, rows, right + n / Lanes * b.PanelStride, b.RowStride, c + n, cStride, count, accumulate);
                    Strip(left, a, row, rows, right + (n / Lanes + 1) * b.PanelStride, b.RowStride, c + n + Lanes, cStride, count, accumulate);
                }

            for (; n + Lanes <= columns; n += Lanes)
                Strip(left, a, 0, rows, right + n / Lanes * b.PanelStride, b.RowStride, c + n, cStride, count, accumulate);
            if (n < columns) Remainder(left, a, rows, right + n / Lanes * b.PanelStride, b.RowStride, c + n, cStride, count, accumulate, columns - n, panel, tile);
        }
    }

    /// <summary>16 columns of the rows from <paramref name="row"/> on.</summary>
    static void Strip(float* left, MatrixView a, int row, int rows, float* b, nint bRow, float* c, nint cStride, int inner, bool accumulate)
    {
        if (Vector512.IsHardwareAccelerated)
            for (; row + 8 <= rows; row += 8) Tile8(left + row * a.RowStride, a, b, bRow, c + row * cStride, cStride, inner, accumulate);
        for (; row + 4 <= rows; row += 4) Tile4(left + row * a.RowStride, a, b, bRow, c + row * cStride, cStride, inner, accumulate);
        for (; row < rows; row++) Tile1(left + row * a.RowStride, a, b, bRow, c + row * cStride, inner, accumulate);
    }

    /// <summary>Fewer than 16 columns: through a panel padded with zeros, and a tile of c of which only they are copied.</summary>
    [MethodImpl(Kernel)]
    static void Remainder(
        float* left, MatrixView a, int rows, float* b, nint bRow, float* c, nint cStride, int inner, bool accumulate, int columns, float* panel, float* tile)
    {
        for (int k = 0; k < inner; k++)
        {
            float* from = b + k * bRow, to = panel + k * Lanes;
            int n = 0;
            Vector512<float>.Zero.Store(to);
            for (; n + 8 <= columns; n += 8) Vector256.Load(from + n).Store(to + n); // rank 8 is the usual one
            for (; n < columns; n++) to[n] = from[n];
        }

        for (int row = 0; row < rows; row += 8)
        {
            int count = Math.Min(8, rows - row);
            for (int i = 0; i < count; i++)
                for (int n = 0; n < columns; n++) tile[i * Lanes + n] = accumulate ? c[(row + i) * cStride + n] : 0;
            Strip(left + row * a.RowStride, a, 0, count, panel, Lanes, tile, Lanes, inner, accumulate);
            for (int i = 0; i < count; i++)
                for (int n = 0; n < columns; n++) c[(row + i) * cStride + n] = tile[i * Lanes + n];
        }
    }

    [MethodImpl(Kernel)]
    static void Tile8x2(float* a, MatrixView view, float* b, PanelView panels, float* c, nint cStride, int inner, bool accumulate)
    {
        nint row = view.RowStride, row2 = 2 * row, row3 = 3 * row, step = view.ColumnStride, bRow = panels.RowStride, panel = panels.PanelStride;
        float* a4 = a + 4 * row;
        Vector512<float> c0 = default, c1 = default, c2 = default, c3 = default, c4 = default, c5 = default, c6 = default, c7 = default;
        Vector512<float> d0 = default, d1 = default, d2 = default, d3 = default, d4 = default, d5 = default, d6 = default, d7 = default;
        if (accumulate)
        {
            Load2(c, out c0, out d0);
            Load2(c + cStride, out c1, out d1);
            Load2(c + 2 * cStride, out c2, out d2);
            Load2(c + 3 * cStride, out c3, out d3);
            Load2(c + 4 * cStride, out c4, out d4);
            Load2(c + 5 * cStride, out c5, out d5);
            Load2(c + 6 * cStride, out c6, out d6);
            Load2(c + 7 * cStride, out c7, out d7);
        }

        for (; inner > 0; inner--, a += step, a4 += step, b += bRow)
        {
            Vector512<float> b0 = Vector512.Load(b), b1 = Vector512.Load(b + panel);
            Vector512<float> x = Vector512.Create(a[0]);
            c0 = Vector512.FusedMultiplyAdd(x, b0, c0);
            d0 = Vector512.FusedMultiplyAdd(x, b1, d0);
            x = Vector512.Create(a[row]);
            c1 = Vector512.FusedMultiplyAdd(x, b0, c1);
            d1 = Vector512.FusedMultiplyAdd(x, b1, d1);
            x = Vector512.Create(a[row2]);
            c2 = Vector512.FusedMultiplyAdd(x, b0, c2);
            d2 = Vector512.FusedMultiplyAdd(x, b1, d2);
            x = Vector512.Create(a[row3]);
            c3 = Vector512.FusedMultiplyAdd(x, b0, c3);
            d3 = Vector512.FusedMultiplyAdd(x, b1, d3);
            x = Vector512.Create(a4[0]);
            c4 = Vector512.FusedMultiplyAdd(x, b0, c4);
            d4 = Vector512.FusedMultiplyAdd(x, b1, d4);
            x = Vector512.Create(a4[row]);
            c5 = Vector512.FusedMultiplyAdd(x, b0, c5);
            d5 = Vector512.FusedMultiplyAdd(x, b1, d5);
            x = Vector512.Create(a4[row2]);
            c6 = Vector512.FusedMultiplyAdd(x, b0, c6);
            d6 = Vector512.FusedMultiplyAdd(x, b1, d6);
            x = Vector512.Create(a4[row3]);
            c7 = Vector512.FusedMultiplyAdd(x, b0, c7);
            d7 = Vector512.FusedMultiplyAdd(x, b1, d7);
        }

        Store2(c, c0, d0);
        Store2(c + cStride, c1, d1);
        Store2(c + 2 * cStride, c2, d2);
        Store2(c + 3 * cStride, c3, d3);
        Store2(c + 4 * cStride, c4, d4);
        Store2(c + 5 * cStride, c5, d5);
        Store2(c + 6 * cStride, c6, d6);
        Store2(c + 7 * cStride, c7, d7);
    }

    [MethodImpl(Kernel)]
    static void Tile8(float* a, MatrixView view, float* b, nint bRow, float* c, nint cStride, int inner, bool accumulate)
    {
        nint row = view.RowStride, row2 = 2 * row, row3 = 3 * row, step = view.ColumnStride;
        float* a4 = a + 4 * row;
        Vector512<float> c0 = default, c1 = default, c2 = default, c3 = default, c4 = default, c5 = default, c6 = default, c7 = default;
        if (accumulate)
        {
            c0 = Vector512.Load(c);
            c1 = Vector512.Load(c + cStride);
            c2 = Vector512.Load(c + 2 * cStride);
            c3 = Vector512.Load(c + 3 * cStride);
            c4 = Vector512.Load(c + 4 * cStride);
            c5 = Vector512.Load(c + 5 * cStride);
            c6 = Vector512.Load(c + 6 * cStride);
            c7 = Vector512.Load(c + 7 * cStride);
        }

        for (; inner > 0; inner--, a += step, a4 += step, b += bRow)
        {
            Vector512<float> x = Vector512.Load(b);
            c0 = Vector512.FusedMultiplyAdd(Vector512.Create(a[0]), x, c0);
            c1 = Vector512.FusedMultiplyAdd(Vector512.Create(a[row]), x, c1);
            c2 = Vector512.FusedMultiplyAdd(Vector512.Create(a[row2]), x, c2);
            c3 = Vector512.FusedMultiplyAdd(Vector512.Create(a[row3]), x, c3);
            c4 = Vector512.FusedMultiplyAdd(Vector512.Create(a4[0]), x, c4);
            c5 = Vector512.FusedMultiplyAdd(Vector512.Create(a4[row]), x, c5);
            c6 = Vector512.FusedMultiplyAdd(Vector512.Create(a4[row2]), x, c6);
            c7 = Vector512.FusedMultiplyAdd(Vector512.Create(a4[row3]), x, c7);
        }

        c0.Store(c);
        c1.Store(c + cStride);
        c2.Store(c + 2 * cStride);
        c3.Store(c + 3 * cStride);
        c4.Store(c + 4 * cStride);
        c5.Store(c + 5 * cStride);
        c6.Store(c + 6 * cStride);
        c7.Store(c + 7 * cStride);
    }

    /// <summary>The tile of machines whose registers hold 256 bits or fewer, too.</summary>
    [MethodImpl(Kernel)]
    static void Tile4(float* a, MatrixView view, float* b, nint bRow, float* c, nint cStride, int inner, bool accumulate)
    {
        nint row = view.RowStride, step = view.ColumnStride;
        Vector512<float> c0 = default, c1 = default, c2 = default, c3 = default;
        if (accumulate)
        {
            c0 = Vector512.Load(c);
            c1 = Vector512.Load(c + cStride);
            c2 = Vector512.Load(c + 2 * cStride);
            c3 = Vector512.Load(c + 3 * cStride);
        }

        for (; inner > 0; inner--, a += step, b += bRow)
        {
            Vector512<float> x = Vector512.Load(b);
            c0 = Vector512.FusedMultiplyAdd(Vector512.Create(a[0]), x, c0);
            c1 = Vector512.FusedMultiplyAdd(Vector512.Create(a[row]), x, c1);
            c2 = Vector512.FusedMultiplyAdd(Vector512.Create(a[2 * row]), x, c2);
            c3 = Vector512.FusedMultiplyAdd(Vector512.Create(a[3 * row]), x, c3);
        }

        c0.Store(c);
        c1.Store(c + cStride);
        c2.Store(c + 2 * cStride);
        c3.Store(c + 3 * cStride);
    }

    [MethodImpl(Kernel)]
    static void Tile1(float* a, MatrixView view, float* b, nint bRow, float* c, int inner, bool accumulate)
    {
        Vector512<float> sum = accumulate ? Vector512.Load(c) : default;
        for (; inner > 0; inner--, a += view.ColumnStride, b += bRow) sum = Vector512.FusedMultiplyAdd(Vector512.Create(*a), Vector512.Load(b), sum);
        sum.Store(c);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Load2(float* c, out Vector512<float> first, out Vector512<float> second)
    {
        first = Vector512.Load(c);
        second = Vector512.Load(c + Lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Store2(float* c, Vector512<float> first, Vector512<float> second)
    {
        first.Store(c);
        second.Store(c + Lanes);
    }
}
