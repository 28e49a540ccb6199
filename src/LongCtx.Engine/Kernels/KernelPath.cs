using System.Runtime.Intrinsics.X86;
using LongCtx.Engine.Files;

namespace LongCtx.Engine.Kernels;

/// <summary>Instruction sets with kernels of their own. All give the same bits, so the choice is one of speed alone.</summary>
internal enum KernelPath
{
    /// <summary>Vector128 of any machine.</summary>
    Portable,

    /// <summary>256 bits, vpmaddubsw.</summary>
    Avx2,

    /// <summary>256 bits, vpdpbusd; floats as in <see cref="Avx2"/>.</summary>
    AvxVnni,

    /// <summary>512 bits, vpmaddubsw (.NET 10 has no 512-bit vpdpbusd).</summary>
    Avx512,
}

internal static class KernelPaths
{
    public static bool IsSupported(this KernelPath path) => path switch
    {
        KernelPath.Portable => true,
        KernelPath.Avx2 => Avx2.IsSupported && Fma.IsSupported,
        KernelPath.AvxVnni => AvxVnni.IsSupported && Fma.IsSupported,
        KernelPath.Avx512 => Avx512BW.IsSupported,
        _ => false,
    };

    /// <summary>The quickest path of this machine for weights of a type.</summary>
    public static KernelPath For(TensorType type)
    {
        // Sums of 4-bit codes fit 16 bits, so two wide vpmaddubsw do what one narrow vpdpbusd does; 8-bit codes would need four.
        bool wide = type.IsFloat() || type.HasNibbles() || !AvxVnni.IsSupported;
        if (KernelPath.Avx512.IsSupported() && wide) return KernelPath.Avx512;
        if (KernelPath.AvxVnni.IsSupported()) return KernelPath.AvxVnni;
        return KernelPath.Avx2.IsSupported() ? KernelPath.Avx2 : KernelPath.Portable;
    }
}
