using System.Runtime.CompilerServices;
using LongCtx.Engine.Files;

namespace LongCtx.Engine.Kernels;

/// <summary>
/// From the rows of a file to one panel of <see cref="PanelLayout"/>. The target is zeroed memory, so rows that are missing in the last panel
/// keep zero scales.
/// </summary>
internal static unsafe class PanelPacker
{
    public static void Pack(TensorType type, byte** rows, int count, int cols, byte* panel)
    {
        switch (type)
        {
            case TensorType.F32: PackF32((float**)rows, count, cols, (float*)panel); break;
            case TensorType.F16 or TensorType.BF16: PackHalf((ushort**)rows, count, cols, (ushort*)panel); break;
            case TensorType.Q4_0: PackQ4_0(rows, count, cols / 32, panel); break;
            case TensorType.Q4_1: PackQ4_1(rows, count, cols / 32, panel); break;
            case TensorType.Q8_0: PackQ8_0(rows, count, cols / 32, panel); break;
            case TensorType.Q5_0: PackQ5(rows, count, cols / 32, panel, scaleBytes: 2); break;
            case TensorType.Q5_1: PackQ5(rows, count, cols / 32, panel, scaleBytes: 4); break;
            case TensorType.Q4_K: PackQ4_K(rows, count, cols / 256, panel); break;
            case TensorType.Q6_K: PackQ6_K(rows, count, cols / 256, panel); break;
            default: throw new ArgumentOutOfRangeException(nameof(type), type, "no panel layout");
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void PackF32(float** rows, int count, int cols, float* panel)
    {
        for (int r = 0; r < count; r++)
            for (int k = 0; k < cols; k++) panel[k * 16 + r] = rows[r][k];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void PackHalf(ushort** rows, int count, int cols, ushort* panel)
    {
        for (int r = 0; r < count; r++)
            for (int k = 0; k < cols; k++) panel[(k >> 1) * 32 + r * 2 + (k & 1)] = rows[r][k];
    }

    // f16 d, then byte i = elements i (low) and i + 16 (high): the words of the file are the words of the panel.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void PackQ4_0(byte** rows, int count, int blocks, byte* panel)
    {
        for (int b = 0; b < blocks; b++, panel += PanelLayout.NibbleBytes + 32)
            for (int r = 0; r < count; r++)
            {
                byte* block = rows[r] + b * 18;
                Words4(block + 2, panel + 4 * r);
                ((ushort*)(panel + PanelLayout.NibbleBytes))[r] = *(ushort*)block;
            }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void PackQ4_1(byte** rows, int count, int blocks, byte* panel)
    {
        for (int b = 0; b < blocks; b++, panel += PanelLayout.NibbleBytes + 64)
            for (int r = 0; r < count; r++)
            {
                byte* block = rows[r] + b * 20;
                Words4(block + 4, panel + 4 * r);
                ((uint*)(panel + PanelLayout.NibbleBytes))[r] = *(uint*)block;
            }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void PackQ8_0(byte** rows, int count, int blocks, byte* panel)
    {
        for (int b = 0; b < blocks; b++, panel += PanelLayout.ByteBytes + 32)
            for (int r = 0; r < count; r++)
            {
                byte* block = rows[r] + b * 34;
                uint* source = (uint*)(block + 2), target = (uint*)panel + r;
                for (int g = 0; g < 8; g++) target[16 * g] = source[g] ^ 0x80808080;
                ((ushort*)(panel + PanelLayout.ByteBytes))[r] = *(ushort*)block;
            }
    }

    // f16 d (and m), 32 fifth bits, 16 bytes of nibbles.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void PackQ5(byte** rows, int count, int blocks, byte* panel, int scaleBytes)
    {
        byte* codes = stackalloc byte[32];
        for (int b = 0; b < blocks; b++, panel += PanelLayout.ByteBytes + 16 * scaleBytes)
            for (int r = 0; r < count; r++)
            {
                byte* block = rows[r] + b * (scaleBytes + 20);
                uint fifth = *(uint*)(block + scaleBytes);
                byte* nibbles = block + scaleBytes + 4;
                for (int i = 0; i < 16; i++)
                {
                    codes[i] = (byte)((uint)(nibbles[i] & 15) | ((fifth >> i & 1) << 4));
                    codes[i + 16] = (byte)((uint)(nibbles[i] >> 4) | ((fifth >> (i + 16) & 1) << 4));
                }
                Words8(codes, panel + 4 * r);
                byte* scales = panel + PanelLayout.ByteBytes + r * scaleBytes;
                for (int i = 0; i < scaleBytes; i++) scales[i] = block[i];
            }
    }

    // Super-block of 256: f16 d, f16 dmin, 12 bytes with 8 scales and 8 minima of 6 bits, then 4 x 32 bytes whose low halves are block 2i and
    // whose high halves are block 2i + 1. The weight is d * scale * code - dmin * minimum.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void PackQ4_K(byte** rows, int count, int superBlocks, byte* panel)
    {
        byte* codes = stackalloc byte[16];
        byte* header = panel;
        panel += TensorType.Q4_K.HeaderBytes(superBlocks * 256);
        for (int b = 0; b < superBlocks * 8; b++, panel += PanelLayout.NibbleBytes + 32)
            for (int r = 0; r < count; r++)
            {
                byte* super = rows[r] + b / 8 * 144, packed = super + 4, bytes = super + 16 + b % 8 / 2 * 32;
                int shift = b % 2 * 4, i = b % 8;
                for (int k = 0; k < 16; k++) codes[k] = (byte)((bytes[k] >> shift & 15) | ((bytes[k + 16] >> shift & 15) << 4));
                Words4(codes, panel + 4 * r);
                int scale = i < 4 ? packed[i] & 63 : (packed[i + 4] & 15) | (packed[i - 4] >> 6 << 4);
                int minimum = i < 4 ? packed[i + 4] & 63 : (packed[i + 4] >> 4) | (packed[i] >> 6 << 4);
                panel[PanelLayout.NibbleBytes + r] = (byte)scale;
                panel[PanelLayout.NibbleBytes + 16 + r] = (byte)-minimum;
                ((uint*)header)[b / 8 * 16 + r] = *(uint*)super;
            }
    }

    // Super-block of 256: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 int8 scales (one per 16 elements), f16 d.
    // The weight is d * scale * (code - 32). Halves of 128: low nibbles of 64 bytes are elements 0..63, the high ones 64..127.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void PackQ6_K(byte** rows, int count, int superBlocks, byte* panel)
    {
        byte* codes = stackalloc byte[32];
        byte* header = panel;
        panel += TensorType.Q6_K.HeaderBytes(superBlocks * 256);
        for (int b = 0; b < superBlocks * 8; b++, panel += PanelLayout.ByteBytes + 32)
            for (int r = 0; r < count; r++)
            {
                byte* super = rows[r] + b / 8 * 210;
                int half = b % 8 / 4, quarter = b % 4;
                byte* low = super + half * 64 + quarter % 2 * 32, high = super + 128 + half * 32;
                for (int k = 0; k < 32; k++)
                    codes[k] = (byte)((low[k] >> quarter / 2 * 4 & 15) | ((high[k] >> quarter * 2 & 3) << 4));
                Words8(codes, panel + 4 * r);
                byte* scales = super + 192 + b % 8 * 2;
                panel[PanelLayout.ByteBytes + r] = scales[0];
                panel[PanelLayout.ByteBytes + 16 + r] = scales[1];
                ((ushort*)header)[b / 8 * 16 + r] = *(ushort*)(super + 208);
            }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Words4(byte* source, byte* target)
    {
        uint* s = (uint*)source, t = (uint*)target;
        t[0] = s[0];
        t[16] = s[1];
        t[32] = s[2];
        t[48] = s[3];
    }

    static void Words8(byte* source, byte* target)
    {
        uint* s = (uint*)source, t = (uint*)target;
        for (int g = 0; g < 8; g++) t[16 * g] = s[g];
    }
}
