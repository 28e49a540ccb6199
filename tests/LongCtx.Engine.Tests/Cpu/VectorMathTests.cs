using System.Runtime.Intrinsics;
using LongCtx.Engine.Cpu;

namespace LongCtx.Engine.Tests.Cpu;

public sealed unsafe class VectorMathTests
{
    [Fact]
    public void Exp2_OverItsRange_IsExactToTheLastBits()
    {
        double worst = 0;
        for (double x = -125.9; x < 127; x += 0.00371)
        {
            double expected = Math.Pow(2, (float)x);
            worst = Math.Max(worst, Math.Abs(VectorMath.Exp2((float)x) - expected) / expected);
        }

        Assert.True(worst < 2e-7, $"worst relative error {worst}");
        Assert.Equal(1, VectorMath.Exp2(0));
        Assert.Equal(0, VectorMath.Exp2(-127));
        Assert.Equal(0, VectorMath.Exp2(float.NegativeInfinity));
    }

    [Fact]
    public void Halves_StoredAndLoaded_AreTheNearestHalf()
    {
        var random = new Random(3);
        ushort* halves = stackalloc ushort[16];
        for (int round = 0; round < 20000; round++)
        {
            var x = new float[16];
            for (int i = 0; i < 16; i++) x[i] = (float)((random.NextDouble() - 0.5) * Math.Pow(2, random.Next(-20, 17)));
            VectorMath.StoreHalf(Vector512.Create(x), halves);
            Vector512<float> back = VectorMath.LoadHalf(halves);
            for (int i = 0; i < 16; i++)
            {
                float clamped = Math.Clamp(x[i], -65504, 65504);
                float expected = Math.Abs(x[i]) < 6.1035156e-5f ? 0 : (float)(Half)clamped;
                Assert.True(expected == back[i], $"{x[i]:R}: {back[i]:R} instead of {expected:R}");
            }
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(16)]
    [InlineData(17)]
    [InlineData(576)]
    [InlineData(1543)]
    public void RowKernels_AtOddSizes_EqualTheirFormula(int n)
    {
        var random = new Random(n);
        float[] Draw() => [.. Enumerable.Range(0, n).Select(_ => (float)(random.NextDouble() * 8 - 4))];
        float[] x = Draw(), w = Draw(), y = new float[n];
        fixed (float* px = x, pw = w, py = y)
        {
            Elementwise.RmsNorm(px, pw, py, n, 1e-5f);
            double rms = Math.Sqrt(x.Sum(v => (double)v * v) / n + 1e-5);
            for (int i = 0; i < n; i++) Assert.Equal(x[i] / rms * w[i], y[i], 1e-5);
            Elementwise.SwiGlu(px, pw, py, n);
            for (int i = 0; i < n; i++) Assert.Equal(x[i] / (1 + Math.Exp(-x[i])) * w[i], y[i], 1e-5);
            double max = x.Max();
            Assert.Equal(max + Math.Log(x.Sum(v => Math.Exp(v - max))), Elementwise.LogSumExp(px, n), 1e-5);
            Elementwise.Add(px, pw, n);
            for (int i = 0; i < n; i++) Assert.True(w[i] != 0);
        }
    }

    [Fact]
    public void SwiGlu_OfLargeNegativeGates_IsZeroAndNeverNaN()
    {
        float* gate = stackalloc float[3] { -1000, -90, 90 }, up = stackalloc float[3] { 2, 2, 2 }, y = stackalloc float[3];
        Elementwise.SwiGlu(gate, up, y, 3);
        Assert.Equal(0, y[0], 1e-30);
        Assert.Equal(0, y[1], 1e-30);
        Assert.Equal(180, y[2], 1e-4);
    }
}
