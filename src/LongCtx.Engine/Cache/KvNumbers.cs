using System.Numerics;
using System.Runtime.InteropServices;

namespace LongCtx.Engine.Cache;

/// <summary>Which numbers a KV block may hold: no infinity and no NaN, which would spread to every row that meets the block, and no denormal half.</summary>
internal static class KvNumbers
{
    const ushort ExponentMask = 0x7C00, MantissaMask = 0x03FF;

    public static bool AreFit(ReadOnlySpan<byte> numbers, KvPart part) =>
        part == KvPart.Biases ? AreFinite(MemoryMarshal.Cast<byte, float>(numbers)) : AreFit(MemoryMarshal.Cast<byte, ushort>(numbers));

    static bool AreFinite(ReadOnlySpan<float> floats)
    {
        foreach (float x in floats)
            if (!float.IsFinite(x)) return false;
        return true;
    }

    static bool AreFit(ReadOnlySpan<ushort> halves)
    {
        ReadOnlySpan<Vector<ushort>> vectors = MemoryMarshal.Cast<ushort, Vector<ushort>>(halves);
        var exponent = new Vector<ushort>(ExponentMask);
        var mantissa = new Vector<ushort>(MantissaMask);
        Vector<ushort> unfit = Vector<ushort>.Zero;
        foreach (Vector<ushort> x in vectors)
        {
            Vector<ushort> e = x & exponent;
            Vector<ushort> isDenormal = Vector.AndNot(Vector.Equals(e, Vector<ushort>.Zero), Vector.Equals(x & mantissa, Vector<ushort>.Zero));
            unfit |= Vector.Equals(e, exponent) | isDenormal;
        }

        if (unfit != Vector<ushort>.Zero) return false;
        foreach (ushort x in halves[(vectors.Length * Vector<ushort>.Count)..])
            if ((x & ExponentMask) == ExponentMask || ((x & ExponentMask) == 0 && (x & MantissaMask) != 0)) return false;
        return true;
    }
}
