using System.Security.Cryptography;
using System.Text;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Adapters;

/// <summary>
/// The numbers of one adapter version, as <see cref="LoraLayout"/> places them. Written once, by whoever made it (a file, a training run),
/// and then only read: sequences, steps and caches share it, and the memory goes when the last of them forgets it.
/// </summary>
public sealed unsafe class LoraWeights(LoraLayout layout)
{
    readonly NativeBuffer _memory = new(checked((nuint)layout.Count * sizeof(float)));
    readonly Lock _packing = new();
    string? _digest;
    PackedLora? _packed;

    public LoraLayout Layout { get; } = layout;

    /// <summary>[<see cref="LoraLayout.Count"/>]; keep this object alive while the pointer is in use.</summary>
    internal float* Pointer => (float*)_memory.Pointer;

    /// <summary>A [r, in] of one projection.</summary>
    public Span<float> A(int layer, LoraTargets target) => new(Pointer + Layout.A(layer, target), Layout.Rank * Layout.Inputs(target));

    /// <summary>B [out, r] of one projection.</summary>
    public Span<float> B(int layer, LoraTargets target) => new(Pointer + Layout.B(layer, target), Layout.Rank * Layout.Outputs(target));

    /// <summary>
    /// What names this version: SHA-256 over rank, alpha, targets and all numbers, 64 hexadecimal digits. Two adapters with one digest give
    /// the same bits. Taken at the first call, so the numbers must stand by then.
    /// </summary>
    public string Digest => _digest ??= ComputeDigest();

    /// <summary>What the kernels read, made at the first call, so the numbers must stand by then. Goes with this object.</summary>
    /// <exception cref="LongCtxException">A number is not finite.</exception>
    internal PackedLora Packed
    {
        get
        {
            if (Volatile.Read(ref _packed) is { } packed) return packed;
            lock (_packing) return _packed ??= new(this);
        }
    }

    string ComputeDigest()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.ASCII.GetBytes(FormattableString.Invariant($"lora-1 r={Layout.Rank} alpha={Layout.Alpha:R} targets={(int)Layout.Targets} count={Layout.Count}\n")));
        const long Piece = 1 << 24;
        for (long at = 0, bytes = Layout.Count * sizeof(float); at < bytes; at += Piece)
            hash.AppendData(new ReadOnlySpan<byte>((byte*)Pointer + at, (int)Math.Min(Piece, bytes - at)));
        GC.KeepAlive(_memory);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
