using LongCtx.Engine.Files;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Tests.Kernels;

public sealed unsafe class ActivationsTests
{
    [Theory]
    [InlineData(96)] // fewer blocks than the four that are quantised at once
    [InlineData(128)]
    [InlineData(576)]
    public void Load_AnyTokens_HoldsTheRoundedBlocksAndTheirSums(int cols)
    {
        const int tokens = 11;
        using var sample = new SampleActivations(tokens, cols, ActivationForms.Int8, seed: 3);
        double[] seen = sample.Seen(TensorType.Q8_0);
        Activations x = sample.Loaded;
        for (int t = 0; t < tokens; t++)
            for (int b = 0; b < cols / 32; b++)
            {
                byte* record = x.Codes + t / 4 * x.CodeGroupBytes + b * Activations.RecordBytes + 4 * (t % 4);
                float d = *(float*)(record + Activations.ScaleOffset);
                int low = 0, high = 0;
                for (int k = 0; k < 32; k++)
                {
                    int code = *(sbyte*)(record + 16 * (k / 4) + k % 4);
                    Assert.Equal(seen[t * cols + b * 32 + k], (double)code * d);
                    if (k < 16) low += code;
                    else high += code;
                }
                Assert.Equal(d * low, *(float*)(record + Activations.LowSumOffset));
                Assert.Equal(d * high, *(float*)(record + Activations.HighSumOffset));
                Assert.Equal(d * (low + high), *(float*)(record + Activations.SumOffset));
            }
    }

    [Fact]
    public void Load_RangesInAnyOrder_SameAsAllAtOnce()
    {
        const int tokens = 23, cols = 192;
        using var sample = new SampleActivations(tokens, cols, ActivationForms.Int8 | ActivationForms.Float, seed: 4);
        using var pieces = new Activations(tokens, cols, sample.Loaded.Forms);
        fixed (float* x = sample.Values)
            foreach ((int first, int count) in new[] { (17, 6), (0, 1), (1, 2), (9, 8), (3, 6) }) pieces.Load(x + first * cols, cols, first, count);
        nint groups = (tokens + 3) / 4;
        Assert.True(new ReadOnlySpan<byte>(sample.Loaded.Codes, (int)(groups * pieces.CodeGroupBytes))
            .SequenceEqual(new ReadOnlySpan<byte>(pieces.Codes, (int)(groups * pieces.CodeGroupBytes))));
        Assert.True(new ReadOnlySpan<byte>(sample.Loaded.Floats, (int)(groups * pieces.FloatGroupBytes))
            .SequenceEqual(new ReadOnlySpan<byte>(pieces.Floats, (int)(groups * pieces.FloatGroupBytes))));
    }

    [Theory]
    [InlineData(64, 1)]
    [InlineData(256, 1)]
    [InlineData(64, 4)]
    public void Load_ZerosAndTinyNumbers_GiveZeroCodes(int cols, int tokens)
    {
        using var x = new Activations(tokens, cols, ActivationForms.Int8);
        var values = new float[cols * tokens];
        Array.Fill(values, 1e-40f, 32, values.Length - 32);
        fixed (float* p = values) x.Load(p, cols, 0, tokens);
        Assert.Equal(-1, new ReadOnlySpan<byte>(x.Codes, (int)x.CodeGroupBytes).IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public void Load_RowsWithNaN_StayNaN()
    {
        using var pool = new WorkerPool(1);
        using var weights = new SampleWeights(TensorType.Q4_1, 16, 128, seed: 1);
        using PackedMatrix w = PackedMatrix.Pack([weights.Source()], pool);
        using var x = new Activations(5, 128, ActivationForms.Int8);
        var values = new float[5 * 128];
        Array.Fill(values, float.NaN);
        float* y = stackalloc float[5 * 16];
        fixed (float* p = values) x.Load(p, 128, 0, 5);
        MatMul.Multiply(w, x, 0, 5, 0, 1, y, 16);
        for (int i = 0; i < 5 * 16; i++) Assert.True(float.IsNaN(y[i]));
    }

    [Fact]
    public void Load_MoreTokensThanCapacity_Throws()
    {
        using var x = new Activations(4, 32, ActivationForms.Int8);
        float* row = stackalloc float[32];
        Assert.Throws<ArgumentOutOfRangeException>(() => x.Load(row, 32, 3, 2));
        Assert.Throws<ArgumentException>(() => new Activations(4, 33, ActivationForms.Int8));
    }
}
