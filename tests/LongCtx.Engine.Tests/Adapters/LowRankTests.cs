using System.Runtime.InteropServices;
using System.Security.Cryptography;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Models;
using LongCtx.Engine.Tests.Models;

namespace LongCtx.Engine.Tests.Adapters;

/// <summary>u = A x and y += B u against double, over every remainder of the tiles, and the same bits however rows and outputs are cut.</summary>
public sealed unsafe class LowRankTests
{
    const int Rows = LowRank.RowsMax;

    static DecoderConfig Model(int inputs, int outputs) => TinyModel.Decoder with { LayerCount = 2, HiddenSize = inputs, FeedForwardSize = outputs };

    public static TheoryData<int, int, int> Shapes => new()
    {
        { 1, 1, 1 }, { 2, 15, 17 }, { 7, 16, 16 }, { 8, 17, 31 }, { 9, 31, 64 }, { 15, 32, 65 }, { 16, 33, 79 }, { 24, 576, 960 }, { 64, 100, 130 }, { 256, 40, 48 },
    };

    static float[] Numbers(int seed, int count)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() * 2 - 1)];
    }

    /// <summary>y of all rows, a tile of rows and a range of outputs at a time; y is 1 before.</summary>
    static float[] Run(LoraPair pair, float[] input, int rowsPerCall, int outputsPerCall)
    {
        float[] y = new float[Rows * pair.Outputs], u = new float[Rows * pair.Rank];
        y.AsSpan().Fill(1);
        float** xs = stackalloc float*[Rows], ys = stackalloc float*[Rows], us = stackalloc float*[Rows];
        fixed (float* px = input, py = y, pu = u)
            for (int row = 0; row < Rows; row += rowsPerCall)
            {
                int rows = Math.Min(rowsPerCall, Rows - row);
                for (int i = 0; i < rows; i++)
                {
                    xs[i] = px + (row + i) * pair.Inputs;
                    us[i] = pu + (row + i) * pair.Rank;
                }

                LowRank.Reduce(pair, xs, rows, us);
                for (int first = 0; first < pair.Outputs; first += outputsPerCall)
                {
                    for (int i = 0; i < rows; i++) ys[i] = py + (row + i) * pair.Outputs + first;
                    LowRank.Expand(pair, us, rows, first, Math.Min(outputsPerCall, pair.Outputs - first), ys);
                }
            }

        return y;
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Paths_OfAnyCut_GiveTheProductToTheCodesPrecisionAndTheSameBits(int rank, int inputs, int outputs)
    {
        LoraWeights weights = PeftAdapter.Random(Model(inputs, outputs), seed: 5, rank, alpha: 3, LoraTargets.Up | LoraTargets.Down);
        LoraPair pair = weights.Packed.Pairs(1, PackedLora.GateUp)[0];
        float[] input = Numbers(6, Rows * inputs), all = Run(pair, input, Rows, (outputs + 15) & ~15);

        ReadOnlySpan<float> a = weights.A(1, LoraTargets.Up), b = weights.B(1, LoraTargets.Up);
        for (int row = 0; row < Rows; row++)
            for (int o = 0; o < outputs; o++)
            {
                double expected = 1, magnitude = 1;
                for (int k = 0; k < rank; k++)
                {
                    double u = 0, largest = 0;
                    for (int i = 0; i < inputs; i++)
                    {
                        u += (double)a[k * inputs + i] * input[row * inputs + i];
                        largest += Math.Abs(a[k * inputs + i] * input[row * inputs + i]);
                    }

                    expected += 3.0 / rank * b[o * rank + k] * u;
                    magnitude += 3.0 / rank * 0.2 * largest;
                }

                Assert.True(Math.Abs(all[row * outputs + o] - expected) < 1e-4 * magnitude, $"row {row}, output {o}: {all[row * outputs + o]} instead of {expected}");
            }

        foreach ((int rows, int columns) in ((int, int)[])[(1, 16), (1, 64), (1, 4096), (2, 32), (3, 64), (4, 16), (5, 80), (7, 4096)])
            Assert.True(all.AsSpan().SequenceEqual(Run(pair, input, rows, columns)), $"{rows} rows and {columns} outputs a call give other bits");
        GC.KeepAlive(weights);
    }

    /// <summary>Whatever the instruction set: the digest was taken with AVX-512, AVX2 and neither (DOTNET_EnableAVX512=0, DOTNET_EnableAVX2=0).</summary>
    [Fact]
    public void Paths_OnEveryMachine_GiveTheSameBits()
    {
        LoraWeights weights = PeftAdapter.Random(Model(83, 75), seed: 7, rank: 13, alpha: 3, LoraTargets.Gate);
        float[] y = Run(weights.Packed.Pairs(0, PackedLora.GateUp)[0], Numbers(8, Rows * 83), Rows - 1, 4096);
        Assert.Equal("05dd241acbdc0ea8", Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes<float>(y)))[..16]);
        GC.KeepAlive(weights);
    }
}
