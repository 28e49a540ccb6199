using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Kernels;

/// <summary>Reads a block of a panel (<see cref="PanelLayout"/>) into 512-bit registers.</summary>
internal unsafe interface IPanel512
{
    static abstract int BlockBytes { get; }

    /// <summary>Codes of column groups j and j + 4, j = 0..3.</summary>
    static abstract void Codes(byte* block, int j, out Vector512<byte> low, out Vector512<byte> high);

    /// <param name="header">Header of the panel.</param>
    /// <param name="b">Index of the block.</param>
    static abstract void Scales(byte* header, byte* block, int b, out Vector512<float> d, out Vector512<float> m);
}

internal static unsafe class Panel512
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Nibbles(byte* block, int j, out Vector512<byte> low, out Vector512<byte> high)
    {
        Vector512<ushort> raw = Vector512.Load((ushort*)(block + 64 * j));
        low = raw.AsByte() & Vector512.Create((byte)15);
        high = (raw >>> 4).AsByte() & Vector512.Create((byte)15);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Bytes(byte* block, int j, out Vector512<byte> low, out Vector512<byte> high)
    {
        low = Vector512.Load(block + 64 * j);
        high = Vector512.Load(block + 256 + 64 * j);
    }

    /// <summary>f16 in the upper half of each lane to f32. The exponent's bias is repaired by a multiplication, which is exact; no infinities.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> HalfToSingle(Vector512<int> upper) =>
        ((upper >> 3) & Vector512.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector512.Create(5.192296858534828e33f); // 2^112

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Halves(byte* p) => HalfToSingle(Avx512F.ConvertToVector512Int32(Vector256.Load((ushort*)p)) << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Integers(byte* p) => Vector512.ConvertToSingle(Avx512F.ConvertToVector512Int32(Vector128.Load((sbyte*)p)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void HalfPairs(byte* p, out Vector512<float> d, out Vector512<float> m)
    {
        Vector512<int> pairs = Vector512.Load((int*)p);
        d = HalfToSingle(pairs << 16);
        m = HalfToSingle(pairs);
    }
}

internal readonly unsafe struct Q4_0Panel512 : IPanel512
{
    public static int BlockBytes => PanelLayout.NibbleBytes + 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, out Vector512<byte> low, out Vector512<byte> high) => Panel512.Nibbles(block, j, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, out Vector512<float> d, out Vector512<float> m)
    {
        d = Panel512.Halves(block + PanelLayout.NibbleBytes);
        m = d * -8f;
    }
}

internal readonly unsafe struct Q4_1Panel512 : IPanel512
{
    public static int BlockBytes => PanelLayout.NibbleBytes + 64;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, out Vector512<byte> low, out Vector512<byte> high) => Panel512.Nibbles(block, j, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, out Vector512<float> d, out Vector512<float> m) =>
        Panel512.HalfPairs(block + PanelLayout.NibbleBytes, out d, out m);
}

internal readonly unsafe struct Q4_KPanel512 : IPanel512
{
    public static int BlockBytes => PanelLayout.NibbleBytes + 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, out Vector512<byte> low, out Vector512<byte> high) => Panel512.Nibbles(block, j, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, out Vector512<float> d, out Vector512<float> m)
    {
        Panel512.HalfPairs(header + b / 8 * 64, out d, out m);
        d *= Panel512.Integers(block + PanelLayout.NibbleBytes);
        m *= Panel512.Integers(block + PanelLayout.NibbleBytes + 16);
    }
}

internal readonly unsafe struct Q8_0Panel512 : IPanel512
{
    public static int BlockBytes => PanelLayout.ByteBytes + 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, out Vector512<byte> low, out Vector512<byte> high) => Panel512.Bytes(block, j, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, out Vector512<float> d, out Vector512<float> m)
    {
        d = Panel512.Halves(block + PanelLayout.ByteBytes);
        m = d * -128f;
    }
}

internal readonly unsafe struct Q5_0Panel512 : IPanel512
{
    public static int BlockBytes => PanelLayout.ByteBytes + 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, out Vector512<byte> low, out Vector512<byte> high) => Panel512.Bytes(block, j, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, out Vector512<float> d, out Vector512<float> m)
    {
        d = Panel512.Halves(block + PanelLayout.ByteBytes);
        m = d * -16f;
    }
}

internal readonly unsafe struct Q5_1Panel512 : IPanel512
{
    public static int BlockBytes => PanelLayout.ByteBytes + 64;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, out Vector512<byte> low, out Vector512<byte> high) => Panel512.Bytes(block, j, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, out Vector512<float> d, out Vector512<float> m) =>
        Panel512.HalfPairs(block + PanelLayout.ByteBytes, out d, out m);
}

/// <summary>Scales: d of columns 0..15 and d of columns 16..31.</summary>
internal readonly unsafe struct Q6_KPanel512 : IPanel512
{
    public static int BlockBytes => PanelLayout.ByteBytes + 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, out Vector512<byte> low, out Vector512<byte> high) =>
        Panel512.Bytes(block, j, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, out Vector512<float> d, out Vector512<float> m)
    {
        Vector512<float> both = Panel512.Halves(header + b / 8 * 32);
        d = both * Panel512.Integers(block + PanelLayout.ByteBytes);
        m = both * Panel512.Integers(block + PanelLayout.ByteBytes + 16);
    }
}

/// <summary>Wide blocks; for Q6_K, m is the d of the second half.</summary>
internal readonly unsafe struct WidePanel512 : IPanel512
{
    public static int BlockBytes => PanelLayout.WideBlockBytes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, out Vector512<byte> low, out Vector512<byte> high) => Panel512.Bytes(block, j, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, out Vector512<float> d, out Vector512<float> m)
    {
        d = Vector512.Load((float*)(block + PanelLayout.ByteBytes));
        m = Vector512.Load((float*)(block + PanelLayout.ByteBytes + 64));
    }
}
