using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LongCtx.Engine.Kernels;

/// <summary>Reads a block of a panel (<see cref="PanelLayout"/>) into 256-bit registers: rows 0..7 (half 0) or 8..15 (half 1).</summary>
internal unsafe interface IPanel256
{
    static abstract int BlockBytes { get; }

    /// <summary>Codes of column groups j and j + 4, j = 0..3.</summary>
    static abstract void Codes(byte* block, int j, int half, out Vector256<byte> low, out Vector256<byte> high);

    /// <param name="header">Header of the panel.</param>
    /// <param name="b">Index of the block.</param>
    static abstract void Scales(byte* header, byte* block, int b, int half, out Vector256<float> d, out Vector256<float> m);
}

internal static unsafe class Panel256
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Nibbles(byte* block, int j, int half, out Vector256<byte> low, out Vector256<byte> high)
    {
        Vector256<ushort> raw = Vector256.Load((ushort*)(block + 64 * j + 32 * half));
        low = raw.AsByte() & Vector256.Create((byte)15);
        high = (raw >>> 4).AsByte() & Vector256.Create((byte)15);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Bytes(byte* block, int j, int half, out Vector256<byte> low, out Vector256<byte> high)
    {
        low = Vector256.Load(block + 64 * j + 32 * half);
        high = Vector256.Load(block + 256 + 64 * j + 32 * half);
    }

    /// <summary>As <see cref="Panel512.HalfToSingle"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> HalfToSingle(Vector256<int> upper) =>
        ((upper >> 3) & Vector256.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector256.Create(5.192296858534828e33f); // 2^112

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Halves(byte* p, int half) =>
        HalfToSingle(Avx2.ConvertToVector256Int32(Vector128.Load((ushort*)(p + 16 * half))) << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Integers(byte* p, int half) => Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32((sbyte*)p + 8 * half));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void HalfPairs(byte* p, int half, out Vector256<float> d, out Vector256<float> m)
    {
        Vector256<int> pairs = Vector256.Load((int*)(p + 32 * half));
        d = HalfToSingle(pairs << 16);
        m = HalfToSingle(pairs);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Singles(byte* p, int half, out Vector256<float> d, out Vector256<float> m)
    {
        d = Vector256.Load((float*)(p + 32 * half));
        m = Vector256.Load((float*)(p + 32 * half + 64));
    }
}

internal readonly unsafe struct Q4_0Panel256 : IPanel256
{
    public static int BlockBytes => PanelLayout.NibbleBytes + 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, int half, out Vector256<byte> low, out Vector256<byte> high) =>
        Panel256.Nibbles(block, j, half, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, int half, out Vector256<float> d, out Vector256<float> m)
    {
        d = Panel256.Halves(block + PanelLayout.NibbleBytes, half);
        m = d * -8f;
    }
}

internal readonly unsafe struct Q4_1Panel256 : IPanel256
{
    public static int BlockBytes => PanelLayout.NibbleBytes + 64;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, int half, out Vector256<byte> low, out Vector256<byte> high) =>
        Panel256.Nibbles(block, j, half, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, int half, out Vector256<float> d, out Vector256<float> m) =>
        Panel256.HalfPairs(block + PanelLayout.NibbleBytes, half, out d, out m);
}

internal readonly unsafe struct Q4_KPanel256 : IPanel256
{
    public static int BlockBytes => PanelLayout.NibbleBytes + 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, int half, out Vector256<byte> low, out Vector256<byte> high) =>
        Panel256.Nibbles(block, j, half, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, int half, out Vector256<float> d, out Vector256<float> m)
    {
        Panel256.HalfPairs(header + b / 8 * 64, half, out d, out m);
        d *= Panel256.Integers(block + PanelLayout.NibbleBytes, half);
        m *= Panel256.Integers(block + PanelLayout.NibbleBytes + 16, half);
    }
}

internal readonly unsafe struct Q8_0Panel256 : IPanel256
{
    public static int BlockBytes => PanelLayout.ByteBytes + 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, int half, out Vector256<byte> low, out Vector256<byte> high) =>
        Panel256.Bytes(block, j, half, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, int half, out Vector256<float> d, out Vector256<float> m)
    {
        d = Panel256.Halves(block + PanelLayout.ByteBytes, half);
        m = d * -128f;
    }
}

internal readonly unsafe struct Q5_0Panel256 : IPanel256
{
    public static int BlockBytes => PanelLayout.ByteBytes + 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, int half, out Vector256<byte> low, out Vector256<byte> high) =>
        Panel256.Bytes(block, j, half, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, int half, out Vector256<float> d, out Vector256<float> m)
    {
        d = Panel256.Halves(block + PanelLayout.ByteBytes, half);
        m = d * -16f;
    }
}

internal readonly unsafe struct Q5_1Panel256 : IPanel256
{
    public static int BlockBytes => PanelLayout.ByteBytes + 64;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, int half, out Vector256<byte> low, out Vector256<byte> high) =>
        Panel256.Bytes(block, j, half, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, int half, out Vector256<float> d, out Vector256<float> m) =>
        Panel256.HalfPairs(block + PanelLayout.ByteBytes, half, out d, out m);
}

/// <summary>Scales: d of columns 0..15 and d of columns 16..31.</summary>
internal readonly unsafe struct Q6_KPanel256 : IPanel256
{
    public static int BlockBytes => PanelLayout.ByteBytes + 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, int half, out Vector256<byte> low, out Vector256<byte> high) =>
        Panel256.Bytes(block, j, half, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, int half, out Vector256<float> d, out Vector256<float> m)
    {
        Vector256<float> both = Panel256.Halves(header + b / 8 * 32, half);
        d = both * Panel256.Integers(block + PanelLayout.ByteBytes, half);
        m = both * Panel256.Integers(block + PanelLayout.ByteBytes + 16, half);
    }
}

/// <summary>Wide blocks; for Q6_K, m is the d of the second half.</summary>
internal readonly unsafe struct WidePanel256 : IPanel256
{
    public static int BlockBytes => PanelLayout.WideBlockBytes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Codes(byte* block, int j, int half, out Vector256<byte> low, out Vector256<byte> high) =>
        Panel256.Bytes(block, j, half, out low, out high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* header, byte* block, int b, int half, out Vector256<float> d, out Vector256<float> m) =>
        Panel256.Singles(block + PanelLayout.ByteBytes, half, out d, out m);
}
