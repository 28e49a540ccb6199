using LongCtx.Engine.Kernels;
using LongCtx.Engine.Training;

namespace LongCtx.Engine.Tests.Training;

public sealed unsafe class GemmTests
{
    public static TheoryData<int, int, int, bool, bool> Shapes()
    {
        var shapes = new TheoryData<int, int, int, bool, bool>();
        foreach (int rows in (int[])[1, 4, 7, 8, 21])
            foreach (int columns in (int[])[1, 8, 16, 31, 32, 100])
                foreach (int inner in (int[])[1, 17, 128, 300])
                    shapes.Add(rows, columns, inner, (rows + columns) % 2 == 0, (columns + inner) % 3 == 0);
        return shapes;
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Multiply_EqualsSumsInDouble_AndItsBitsDoNotDependOnCuts(int rows, int columns, int inner, bool transposed, bool panels)
    {
        const int Seed = 7;
        var random = new Random(Seed);
        using NativeBuffer aMemory = Filled(rows * inner), bMemory = Filled((columns + 15) / 16 * 16 * inner), cMemory = Filled(rows * (columns + 3)), dMemory = new((nuint)(rows * (columns + 3)) * sizeof(float));
        float* a = (float*)aMemory.Pointer, b = (float*)bMemory.Pointer, c = (float*)cMemory.Pointer, d = (float*)dMemory.Pointer;
        MatrixView left = transposed ? new(a, 1, rows) : new(a, inner);
        PanelView right = panels ? new(b, 16, inner * 16) : new(b, columns);
        nint stride = columns + 3;
        var before = new ReadOnlySpan<float>(c, rows * (int)stride).ToArray();
        before.CopyTo(new Span<float>(d, before.Length));

        Gemm.Multiply(left, right, c, stride, rows, columns, inner, accumulate: true);
        int cut = inner / 3, rowCut = rows / 2;
        Gemm.Multiply(left, right, d, stride, rowCut, columns, cut, accumulate: true);
        Gemm.Multiply(new(left.Data + cut * left.ColumnStride, left.RowStride, left.ColumnStride), new(right.Data + cut * right.RowStride, right.RowStride, right.PanelStride), d, stride, rowCut, columns, inner - cut, accumulate: true);
        Gemm.Multiply(new(left.Data + rowCut * left.RowStride, left.RowStride, left.ColumnStride), right, d + rowCut * stride, stride, rows - rowCut, columns, inner, accumulate: true);

        for (int r = 0; r < rows; r++)
            for (int n = 0; n < stride; n++)
            {
                double sum = before[r * stride + n], size = Math.Abs(sum);
                for (int k = 0; n < columns && k < inner; k++)
                {
                    double product = (double)left.Data[r * left.RowStride + k * left.ColumnStride] * right.Data[n / 16 * right.PanelStride + k * right.RowStride + n % 16];
                    sum += product;
                    size += Math.Abs(product);
                }

                Assert.True(Math.Abs(sum - c[r * stride + n]) <= 1e-6 * size, $"seed {Seed}: row {r}, column {n}: {c[r * stride + n]} instead of {sum}");
                Assert.Equal(BitConverter.SingleToInt32Bits(c[r * stride + n]), BitConverter.SingleToInt32Bits(d[r * stride + n]));
            }

        NativeBuffer Filled(int count)
        {
            var memory = new NativeBuffer((nuint)count * sizeof(float));
            for (int i = 0; i < count; i++) ((float*)memory.Pointer)[i] = random.NextSingle() - 0.5f;
            return memory;
        }
    }
}
