using System.Buffers.Binary;
using LongCtx.Engine.Files;

namespace LongCtx.Engine.Tests.Files;

public sealed class DequantizerTests
{
    /// <summary>One random block per type with what llama.cpp's gguf-py (quants.py, dequantize) makes of it: single values, their sum, Σ (i+1)·y[i].</summary>
    public static TheoryData<TensorType, string, (int Index, float Value)[], double, double> ReferenceBlocks => new()
    {
        { TensorType.Q8_0, "c028e5f1a94106a0956a26afbccdafe562f90a945f5693c642276ad5ab2da7394551",
            [(0, -1.001953125f), (1, -0.556640625f), (15, -0.259765625f), (16, 0.37109375f), (31, 3.005859375f)], -6.3828125, 96.150390625 },
        { TensorType.Q4_0, "c028d74c3427fa48d732a1df70aca1e92611",
            [(0, -0.037109375f), (1, 0.1484375f), (15, -0.259765625f), (16, 0.185546875f), (31, -0.259765625f)], -1.11328125, -15.474609375 },
        { TensorType.Q4_1, "c028aeb98f063cd25e19a621f9bd0ccc21397c1e",
            [(0, -0.1533203125f), (1, -0.4873046875f), (15, -0.1904296875f), (16, -0.4130859375f), (31, -0.6728515625f)], -13.8125, -243.974609375 },
        { TensorType.Q5_0, "c028ca7748dc03d17a88934d85527357a2e64647f03e",
            [(0, -0.482421875f), (1, 0.037109375f), (15, -0.07421875f), (16, -0.59375f), (31, 0.111328125f)], -1.26171875, -9.12890625 },
        { TensorType.Q5_1, "c028aeb992c58efd5185f0711ef7677a1f132a818d882195",
            [(0, -0.6728515625f), (1, 0.0693359375f), (15, 0.0693359375f), (16, -0.5244140625f), (31, 0.2177734375f)], -4.4609375, -42.173828125 },
        { TensorType.Q4_K, "c028b6206b236b82481bd9fe630dc3ce3be4ebcab72f45b35223479f6e794d57037e2cfde9e15a7789781e3721a557d8e5a703296dcb81db3f65cf9c1bdc5d1d8fc83f0b0bb4db71be572209851d3d24f4c0cf83fe4363f82f4759778955f6ced681cbea7179ced2c8f814a13472ff70ce369d8385452a44f318337f08cd1e614f235d3f83bc45fee9ee0403a79be118",
            [(0, 17.4791259765625f), (15, 11.0963134765625f), (16, 4.7135009765625f), (31, 12.6920166015625f), (32, 3.6480560302734375f), (63, 16.636337280273438f), (64, 7.7484893798828125f), (97, 0.171722412109375f), (128, 2.617889404296875f), (161, 5.7890625f), (200, 1.56317138671875f), (255, 1.15496826171875f)], 1969.51953125, 221167.7421875 },
        { TensorType.Q6_K, "544441317c9311f85e0429b19f7ec0e156f65a3322e791b880ee995e3f0d307d2fbaf400693a179e0d027ed4e58be7a9ebc28a271d43a78855638144eb6603f7b2725de11fe6ac2f88a68182869793f0aad6ded8116e3ab51681c4a374fec70a68b3e4bdc92b387987416c17ec90963ec766888ab4b80eba7c5cfd81121bea9cee1810dfd5169faf26cd7b5c30c8aba44d972299e8c7b41b9a1d2b0f180600a974d63b6332202c998e82b2522c49c4394c7d73265b6aaf61b288fbd0aecfa766616223611e764c93aa388ffabd0a6a644c22",
            [(0, 4.7718505859375f), (15, -36.981842041015625f), (16, -12.0526123046875f), (31, -3.61578369140625f), (32, 13.343963623046875f), (63, 8.350738525390625f), (64, 1.84478759765625f), (97, -19.6285400390625f), (128, 31.7303466796875f), (161, 18.066619873046875f), (200, 19.776123046875f), (255, -8.6090087890625f)], 93.08798217773438, 15415.25424194336 },
    };

    [Theory]
    [MemberData(nameof(ReferenceBlocks))]
    public void ToFloat32_RandomBlock_MatchesGgufPy(TensorType type, string hex, (int Index, float Value)[] values, double sum, double weightedSum)
    {
        float[] y = new float[type.BlockSize()];
        Dequantizer.ToFloat32(type, Convert.FromHexString(hex), y);

        foreach (var (index, value) in values) Assert.Equal(value, y[index], Math.Abs(value) * 1e-6f);
        Assert.Equal(sum, y.Sum(v => (double)v), 1e-3);
        Assert.Equal(weightedSum, y.Select((v, i) => (i + 1.0) * v).Sum(), 0.1);
    }

    [Theory]
    [InlineData(TensorType.Q8_0, 0.5 / 127)]
    [InlineData(TensorType.Q4_0, 1.0 / 8)] // the scale is amax / -8: the value opposite to the extreme one may miss a whole step
    [InlineData(TensorType.Q4_1, 0.5 / 15 * 2)]
    [InlineData(TensorType.Q5_0, 1.0 / 16)]
    [InlineData(TensorType.Q5_1, 0.5 / 31 * 2)]
    [InlineData(TensorType.Q4_K, 0.5 / 15 * 2 + 0.05)] // the scales themselves are rounded to 6 bits
    [InlineData(TensorType.Q6_K, 0.5 / 31 + 0.02)]
    public void ToFloat32_AfterTheTestQuantizer_StaysWithinHalfAStep(TensorType type, double relativeError)
    {
        const int seed = 20260;
        Random random = new(seed);
        for (int round = 0; round < 200; round++)
        {
            float[] x = new float[type.BlockSize() * (1 + round % 3)];
            float scale = MathF.Pow(10, random.NextSingle() * 4 - 2);
            for (int i = 0; i < x.Length; i++) x[i] = (random.NextSingle() * 2 - 1) * scale;
            float[] y = new float[x.Length];
            Dequantizer.ToFloat32(type, Quantizer.Quantize(type, x), y);

            float largest = x.Max(Math.Abs);
            for (int i = 0; i < x.Length; i++)
                Assert.True(Math.Abs(x[i] - y[i]) <= relativeError * largest * 1.01, $"seed {seed}, round {round}, element {i}: {x[i]} became {y[i]}");
        }
    }

    [Fact]
    public void ToFloat32_EveryHalf_EqualsTheConversionOfTheRuntime()
    {
        byte[] bytes = new byte[65536 * 2];
        for (int i = 0; i < 65536; i++) BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(2 * i), (ushort)i);
        float[] y = new float[65536];
        Dequantizer.ToFloat32(TensorType.F16, bytes, y);

        for (int i = 0; i < y.Length; i++)
        {
            float expected = (float)BitConverter.UInt16BitsToHalf((ushort)i);
            Assert.True(float.IsNaN(expected) ? float.IsNaN(y[i]) : BitConverter.SingleToUInt32Bits(expected) == BitConverter.SingleToUInt32Bits(y[i]),
                $"half 0x{i:x4}: expected {expected}, got {y[i]}");
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(15)]
    [InlineData(17)]
    [InlineData(100)]
    public void ToFloat32_PlainTypesAtOddLengths_KeepEveryValue(int length)
    {
        // Powers of two with seven significant bits are exact in all three types.
        float[] x = [.. Enumerable.Range(0, length).Select(i => (i % 2 == 0 ? 1 : -1) * (1 + i % 64 / 64f) * MathF.Pow(2, i % 13 - 6))];
        foreach (TensorType type in (TensorType[])[TensorType.F32, TensorType.F16, TensorType.BF16])
        {
            float[] y = new float[length];
            Dequantizer.ToFloat32(type, Quantizer.Quantize(type, x), y);
            Assert.Equal(x, y);
        }
    }

    [Fact]
    public void ToFloat32_LengthsThatDoNotMatch_AreRefused()
    {
        Assert.Throws<ArgumentException>(() => Dequantizer.ToFloat32(TensorType.Q4_0, new byte[18], new float[31]));
        Assert.Throws<ArgumentException>(() => Dequantizer.ToFloat32(TensorType.Q4_0, new byte[17], new float[32]));
        Assert.Throws<ArgumentException>(() => Dequantizer.ToFloat32(TensorType.F32, new byte[8], new float[1]));
    }
}
