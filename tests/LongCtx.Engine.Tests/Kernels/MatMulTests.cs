using LongCtx.Engine.Files;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Tests.Kernels;

/// <summary>
/// Goal: every kernel computes W x, and gives the same bits however the work is cut. Method: a naive twin in double for the values; then
/// the kernel's own result for all tokens at once against every other way to get it.
/// </summary>
public sealed unsafe class MatMulTests : IDisposable
{
    const int Tokens = 130;
    const int Seed = 20240;
    const float Untouched = -12345.5f;

    static readonly int[] s_tokenCounts = [1, 2, 3, 5, 7, 17, 64, 130];
    static readonly KernelPath[] s_paths = [.. Enum.GetValues<KernelPath>().Where(p => p.IsSupported())];

    readonly WorkerPool _pool = new(2);

    public void Dispose() => _pool.Dispose();

    public static TheoryData<TensorType> Types => [.. Enum.GetValues<TensorType>()];

    [Theory, MemberData(nameof(Types))]
    public void Multiply_OddSizes_MatchesNaiveTwin(TensorType type)
    {
        foreach (int rows in new[] { 1, 15, 16, 17, 100 })
            foreach (int cols in Columns(type))
            {
                using var weights = new SampleWeights(type, rows, cols, Seed + rows);
                using PackedMatrix w = PackedMatrix.Pack([weights.Source()], _pool);
                using var x = new SampleActivations(Tokens, cols, w.Forms, Seed + cols);
                (double[] expected, double[] tolerance) = Twin(weights, x.Seen(type));
                foreach (KernelPath path in s_paths)
                {
                    float[] actual = Multiply(w, x.Loaded, 0, Tokens, path);
                    for (int i = 0; i < expected.Length; i++)
                        Assert.True(Math.Abs(actual[i] - expected[i]) <= tolerance[i],
                            $"{type} {rows}x{cols} {path} token {i / rows} row {i % rows}: {actual[i]}, expected {expected[i]} +- {tolerance[i]}");
                }
            }
    }

    [Theory, MemberData(nameof(Types))]
    public void Multiply_AnyPathTokenCountAndPlaceInATile_SameBits(TensorType type)
    {
        foreach (int rows in new[] { 1, 17, 100 })
            foreach (int cols in Columns(type))
            {
                using var weights = new SampleWeights(type, rows, cols, Seed + rows);
                using PackedMatrix w = PackedMatrix.Pack([weights.Source()], _pool);
                using var x = new SampleActivations(Tokens, cols, w.Forms, Seed + cols);
                float[] all = Multiply(w, x.Loaded, 0, Tokens, KernelPath.Portable);
                foreach (KernelPath path in s_paths)
                    foreach (int count in s_tokenCounts)
                        foreach (int first in new[] { 0, 1, 2, 3, 6, 63 })
                        {
                            if (first + count > Tokens) continue;
                            AssertSameBits(all.AsSpan(first * rows, count * rows), Multiply(w, x.Loaded, first, count, path), $"{rows}x{cols} {path} {first}+{count}");
                        }
            }
    }

    [Theory, MemberData(nameof(Types))]
    public void Multiply_AnyPanelRange_WritesItsRowsAndNoOther(TensorType type)
    {
        const int rows = 100;
        int cols = Columns(type)[^1];
        using var weights = new SampleWeights(type, rows, cols, Seed);
        using PackedMatrix w = PackedMatrix.Pack([weights.Source()], _pool);
        using var x = new SampleActivations(Tokens, cols, w.Forms, Seed);
        foreach (KernelPath path in s_paths)
            foreach (int tokens in new[] { 1, 5, Tokens })
            {
                float[] all = Multiply(w, x.Loaded, 0, tokens, path);
                for (int panel = 0; panel < w.PanelCount; panel++)
                    foreach (int panels in new[] { 1, 2, 3, 5 })
                    {
                        if (panel + panels > w.PanelCount) continue;
                        var part = new float[tokens * rows];
                        Array.Fill(part, Untouched);
                        fixed (float* y = part) MatMul.Multiply(w, x.Loaded, 0, tokens, panel, panels, y, rows, accumulate: false, path);
                        for (int i = 0; i < part.Length; i++)
                            Assert.Equal(i % rows / 16 - panel is int p && p >= 0 && p < panels ? all[i] : Untouched, part[i]);
                    }
            }
    }

    [Theory, MemberData(nameof(Types))]
    public void Multiply_AnyNumberOfThreads_SameBits(TensorType type)
    {
        const int rows = 333;
        int cols = Columns(type)[^1];
        using var weights = new SampleWeights(type, rows, cols, Seed);
        using PackedMatrix w = PackedMatrix.Pack([weights.Source()], _pool);
        using var x = new SampleActivations(Tokens, cols, w.Forms, Seed);
        foreach (int threads in new[] { 1, 2, 3, 5 })
        {
            using var pool = new WorkerPool(threads);
            foreach (int tokens in s_tokenCounts)
                for (int accumulate = 0; accumulate < 2; accumulate++)
                {
                    float[] expected = Multiply(w, x.Loaded, 0, tokens, path: null), actual = new float[tokens * rows];
                    Array.Fill(actual, 0.75f);
                    if (accumulate == 1)
                        for (int i = 0; i < expected.Length; i++) expected[i] += 0.75f;
                    fixed (float* y = actual) MatMul.Multiply(w, x.Loaded, 0, tokens, y, rows, pool, accumulate == 1);
                    AssertSameBits(expected, actual, $"{threads} threads, {tokens} tokens, accumulate {accumulate}");
                }
        }
    }

    [Theory, MemberData(nameof(Types))]
    public void Multiply_Accumulate_AddsToEveryRow(TensorType type)
    {
        const int rows = 55;
        int cols = Columns(type)[0];
        using var weights = new SampleWeights(type, rows, cols, Seed);
        using PackedMatrix w = PackedMatrix.Pack([weights.Source()], _pool);
        using var x = new SampleActivations(Tokens, cols, w.Forms, Seed);
        foreach (KernelPath path in s_paths)
            foreach (int tokens in s_tokenCounts)
            {
                float[] expected = Multiply(w, x.Loaded, 0, tokens, path), actual = new float[tokens * rows];
                for (int i = 0; i < expected.Length; i++) expected[i] += actual[i] = i * 0.37f - 50;
                fixed (float* y = actual) MatMul.Multiply(w, x.Loaded, 0, tokens, 0, w.PanelCount, y, rows, accumulate: true, path);
                AssertSameBits(expected, actual, $"{path} {tokens}");
            }
    }

    [Fact]
    public void Multiply_StackedSourcesOfDifferentTypesAndRowOrder_EqualsSeparateMatrices()
    {
        const int cols = 256;
        TensorType[] types = [TensorType.Q4_K, TensorType.Q6_K, TensorType.F16, TensorType.Q8_0];
        int[] rows = [40, 17, 16, 5];
        int[] order = [.. Enumerable.Range(0, rows[0]).Select(r => (r * 7 + 3) % rows[0])];
        var samples = types.Select((type, i) => new SampleWeights(type, rows[i], cols, Seed + i)).ToArray();
        using PackedMatrix stacked = PackedMatrix.Pack([.. samples.Select((s, i) => s.Source(i == 0 ? order : null))], _pool);
        using var x = new SampleActivations(9, cols, ActivationForms.Float | ActivationForms.Int8, Seed);
        Assert.Equal(rows.Sum(), stacked.Rows);
        float[] all = Multiply(stacked, x.Loaded, 0, 9, path: null);
        int firstRow = 0;
        for (int i = 0; i < samples.Length; i++)
        {
            using PackedMatrix single = PackedMatrix.Pack([samples[i].Source()], _pool);
            float[] alone = Multiply(single, x.Loaded, 0, 9, path: null);
            for (int t = 0; t < 9; t++)
                for (int r = 0; r < rows[i]; r++)
                    Assert.Equal(alone[t * rows[i] + (i == 0 ? order[r] : r)], all[t * stacked.Rows + firstRow + r]);
            firstRow += rows[i];
            samples[i].Dispose();
        }
    }

    [Fact]
    public void Multiply_OneTokenAfterWarmUp_AllocatesNothing()
    {
        foreach (TensorType type in Enum.GetValues<TensorType>())
        {
            int cols = Columns(type)[^1];
            using var weights = new SampleWeights(type, 100, cols, Seed);
            using PackedMatrix w = PackedMatrix.Pack([weights.Source()], _pool);
            using var x = new SampleActivations(Tokens, cols, w.Forms, Seed);
            var y = new float[Tokens * 100];
            void Step(int tokens)
            {
                fixed (float* values = x.Values, target = y)
                {
                    x.Loaded.Load(values, cols, 0, tokens);
                    MatMul.Multiply(w, x.Loaded, 0, tokens, target, 100, _pool);
                    MatMul.Multiply(w, x.Loaded, 0, tokens, 0, w.PanelCount, target, 100);
                }
            }
            Step(1);
            Step(Tokens);
            // A collection that other tests cause books the rest of this thread's allocation buffer on it, so the least of a few counts.
            long least = long.MaxValue;
            for (int attempt = 0; attempt < 5 && least > 0; attempt++)
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                for (int i = 0; i < 10; i++)
                {
                    Step(1);
                    Step(Tokens);
                }
                least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
            }
            Assert.Equal(0, least);
        }
    }

    [Fact]
    public void Multiply_ArgumentsThatDoNotFit_Throws()
    {
        using var weights = new SampleWeights(TensorType.Q8_0, 20, 64, Seed);
        using PackedMatrix w = PackedMatrix.Pack([weights.Source()], _pool);
        using var narrow = new Activations(4, 32, ActivationForms.Int8);
        using var floats = new Activations(4, 64, ActivationForms.Float);
        using var good = new Activations(4, 64, ActivationForms.Int8);
        float* y = stackalloc float[100];
        Assert.Throws<ArgumentException>(() => MatMul.Multiply(w, narrow, 0, 1, 0, 1, y, 20));
        Assert.Throws<ArgumentException>(() => MatMul.Multiply(w, floats, 0, 1, 0, 1, y, 20));
        Assert.Throws<ArgumentOutOfRangeException>(() => MatMul.Multiply(w, good, 3, 2, 0, 1, y, 20));
        Assert.Throws<ArgumentOutOfRangeException>(() => MatMul.Multiply(w, good, 0, 1, 1, 2, y, 20));
    }

    static int[] Columns(TensorType type) => type.BlockSize() switch
    {
        1 => [1, 33, 96, 576],
        32 => [32, 96, 576, 1536],
        _ => [256, 1536],
    };

    static float[] Multiply(PackedMatrix w, Activations x, int firstToken, int tokens, KernelPath? path)
    {
        // One row more than needed on each side: whoever writes beside the target is caught.
        int stride = w.Rows + 2;
        var padded = new float[tokens * stride + 2];
        Array.Fill(padded, Untouched);
        fixed (float* y = padded) MatMul.Multiply(w, x, firstToken, tokens, 0, w.PanelCount, y + 1, stride, accumulate: false, path);
        var result = new float[tokens * w.Rows];
        for (int i = 0; i < padded.Length; i++)
        {
            int token = (i - 1) / stride, row = (i - 1) % stride;
            if (i > 0 && token < tokens && row < w.Rows) result[token * w.Rows + row] = padded[i];
            else Assert.Equal(Untouched, padded[i]);
        }
        return result;
    }

    /// <summary>
    /// The sums in double, and the bound of a float chain: each fused step rounds once (2^-24 relative) a partial sum that is no larger than
    /// the sum of all |terms|; the product of two scales and the rounded d * sum(int8) add two roundings each. Q8_0 and Q6_K codes are shifted
    /// by their middle, so a term's size counts with the shift.
    /// </summary>
    static (double[] Values, double[] Tolerance) Twin(SampleWeights w, double[] x)
    {
        var values = new double[Tokens * w.Rows];
        var tolerance = new double[values.Length];
        int steps = w.Type.IsFloat() ? w.Cols : w.Cols / 32 * 4;
        for (int t = 0; t < Tokens; t++)
            for (int r = 0; r < w.Rows; r++)
            {
                double sum = 0, size = 0;
                for (int k = 0; k < w.Cols; k++)
                {
                    double xk = x[t * w.Cols + k], scaled = w.Scaled[r, k], offset = w.Offset[r, k];
                    sum += (scaled + offset) * xk;
                    size += (Math.Abs(scaled) + Math.Abs(offset)) * Math.Abs(xk);
                }
                if (w.Type == TensorType.Q8_0) size *= 4; // code + 128 in place of |code|, whose mean is 64
                values[t * w.Rows + r] = sum;
                tolerance[t * w.Rows + r] = (steps + 4) * Math.Pow(2, -24) * size;
            }
        return (values, tolerance);
    }

    static void AssertSameBits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            if (BitConverter.SingleToInt32Bits(expected[i]) != BitConverter.SingleToInt32Bits(actual[i]))
                Assert.Fail($"{what}: element {i} is {actual[i]:R}, expected {expected[i]:R}");
    }
}
