using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Tests.Sampling;

public sealed class PhiloxTests
{
    // Known answers of Random123 (kat_vectors, philox4x32 10): counter, key and result, lowest word first.
    [Theory]
    [InlineData(0u, 0u, 0u, 0u, 0u, 0u, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [InlineData(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0xa4093822u, 0x299f31d0u, 0xd16cfe09u, 0x94fdcceb, 0x5001e420u, 0x24126ea1u)]
    public void Block_OfTheKnownInputs_GivesTheKnownAnswers(uint c0, uint c1, uint c2, uint c3, uint k0, uint k1, uint r0, uint r1, uint r2, uint r3)
    {
        UInt128 counter = new((ulong)c3 << 32 | c2, (ulong)c1 << 32 | c0);
        Assert.Equal(new UInt128((ulong)r3 << 32 | r2, (ulong)r1 << 32 | r0), Philox.Block((ulong)k1 << 32 | k0, counter));
    }

    [Fact]
    public void Uniform_OverManyIndices_FillsTheUnitIntervalEvenly()
    {
        int[] bins = new int[64];
        for (long i = 0; i < 64_000; i++) bins[(int)(Philox.Uniform(99, i) * 64)]++;
        Assert.True(bins.Sum(b => Math.Pow(b - 1000, 2) / 1000) < 103.4); // 99.9 % point of chi-square with 63 degrees of freedom
    }
}
