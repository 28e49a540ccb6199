using System.Runtime.CompilerServices;
using System.Text;

namespace LongCtx.Engine.Files;

/// <summary>Reads little-endian values from a mapped file; every read is checked against the end of the file.</summary>
internal sealed unsafe class ByteCursor(MappedFile file)
{
    public long Position { get; private set; }

    public long Remaining => file.Length - Position;

    public T Read<T>(string what) where T : unmanaged
    {
        Need(sizeof(T), what);
        T value = Unsafe.ReadUnaligned<T>(file.Start + Position);
        Position += sizeof(T);
        return value;
    }

    public T[] ReadArray<T>(int count, string what) where T : unmanaged
    {
        Need((long)count * sizeof(T), what);
        T[] values = count == 0 ? [] : new T[count];
        new ReadOnlySpan<byte>(file.Start + Position, count * sizeof(T)).CopyTo(System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()));
        Position += (long)count * sizeof(T);
        return values;
    }

    /// <summary>A string with a 64-bit length in front. Bytes that are not UTF-8 become U+FFFD.</summary>
    public string ReadString(int bytesMax, string what)
    {
        ulong length = Read<ulong>(what);
        if (length > (ulong)bytesMax)
            throw Fail(Position - 8, $"{what} claims {length} bytes; at most {bytesMax} are allowed");
        Need((long)length, what);
        string text = Encoding.UTF8.GetString(file.Start + Position, (int)length);
        Position += (long)length;
        return text;
    }

    /// <summary>A 64-bit count of items that take at least <paramref name="bytesEach"/> bytes each in the rest of the file.</summary>
    public int ReadCount(int bytesEach, int countMax, string what)
    {
        ulong count = Read<ulong>(what);
        if (count > (ulong)countMax) throw Fail(Position - 8, $"{what} is {count}; at most {countMax} are allowed");
        if ((long)count * bytesEach > Remaining)
            throw Fail(Position - 8, $"{what} is {count}, which cannot fit in the remaining {Remaining} bytes: the file is truncated or damaged");
        return (int)count;
    }

    public ModelFileException Fail(long offset, string problem) => new(file.Path, offset, problem);

    void Need(long bytes, string what)
    {
        if (bytes > Remaining)
            throw Fail(Position, $"the file ends inside {what} ({bytes} bytes needed, {Remaining} left): it is truncated or damaged");
    }
}
