namespace LongCtx.Engine.Sampling;

/// <summary>Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC'11): random numbers as a function of (key, counter).</summary>
static class Philox
{
    /// <summary>Uniform in [0, 1) with 53 bits: the only random number of the token at this index of the sequence.</summary>
    public static double Uniform(ulong seed, long tokenIndex)
    {
        UInt128 bits = Block(seed, (ulong)tokenIndex);
        return ((ulong)bits >> 11) * (1.0 / (1UL << 53));
    }

    /// <summary>Ten rounds over the counter's four words (lowest first).</summary>
    public static UInt128 Block(ulong key, UInt128 counter)
    {
        uint c0 = (uint)counter, c1 = (uint)(counter >> 32), c2 = (uint)(counter >> 64), c3 = (uint)(counter >> 96);
        uint k0 = (uint)key, k1 = (uint)(key >> 32);
        for (int round = 0; round < 10; round++)
        {
            ulong p0 = 0xD2511F53UL * c0, p1 = 0xCD9E8D57UL * c2;
            (c0, c1, c2, c3) = ((uint)(p1 >> 32) ^ c1 ^ k0, (uint)p1, (uint)(p0 >> 32) ^ c3 ^ k1, (uint)p0);
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }
        return new UInt128((ulong)c3 << 32 | c2, (ulong)c1 << 32 | c0);
    }
}
