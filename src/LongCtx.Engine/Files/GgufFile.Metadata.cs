namespace LongCtx.Engine.Files;

public sealed partial class GgufFile
{
    const int MinMetadataEntryBytes = 8 + 1 + 4 + 1; // length, a key of one byte, type, value

    enum ValueType : uint
    {
        UInt8, Int8, UInt16, Int16, UInt32, Int32, Float32, Bool, String, Array, UInt64, Int64, Float64,
    }

    static GgufMetadata ReadMetadata(ByteCursor cursor, string path, int count)
    {
        Dictionary<string, GgufMetadata.Entry> entries = [];
        for (int i = 0; i < count; i++)
        {
            long offset = cursor.Position;
            string key = cursor.ReadString(KeyBytesMax, "a metadata key");
            if (key.Length == 0) throw cursor.Fail(offset, "a metadata key is empty");
            object value = ReadValue(cursor, ReadType(cursor), key, depth: 0);
            if (!entries.TryAdd(key, new(value, offset))) throw cursor.Fail(offset, $"metadata '{key}' occurs twice");
        }

        return new GgufMetadata(path, entries);
    }

    static ValueType ReadType(ByteCursor cursor)
    {
        uint type = cursor.Read<uint>("a value type");
        return type <= (uint)ValueType.Float64 ? (ValueType)type : throw cursor.Fail(cursor.Position - 4, $"{type} is not a metadata value type");
    }

    static object ReadValue(ByteCursor cursor, ValueType type, string key, int depth) => type switch
    {
        ValueType.UInt8 => cursor.Read<byte>(key),
        ValueType.Int8 => cursor.Read<sbyte>(key),
        ValueType.UInt16 => cursor.Read<ushort>(key),
        ValueType.Int16 => cursor.Read<short>(key),
        ValueType.UInt32 => cursor.Read<uint>(key),
        ValueType.Int32 => cursor.Read<int>(key),
        ValueType.UInt64 => cursor.Read<ulong>(key),
        ValueType.Int64 => cursor.Read<long>(key),
        ValueType.Float32 => cursor.Read<float>(key),
        ValueType.Float64 => cursor.Read<double>(key),
        ValueType.Bool => cursor.Read<byte>(key) != 0,
        ValueType.String => cursor.ReadString(StringBytesMax, key),
        _ => ReadArray(cursor, key, depth + 1),
    };

    static Array ReadArray(ByteCursor cursor, string key, int depth)
    {
        if (depth > NestingDepthMax) throw cursor.Fail(cursor.Position, $"metadata '{key}' nests arrays deeper than {NestingDepthMax}");
        ValueType type = ReadType(cursor);
        int count = cursor.ReadCount(MinBytes(type), ArrayLengthMax, "an array length");
        switch (type)
        {
            case ValueType.UInt8: return cursor.ReadArray<byte>(count, key);
            case ValueType.Int8: return cursor.ReadArray<sbyte>(count, key);
            case ValueType.UInt16: return cursor.ReadArray<ushort>(count, key);
            case ValueType.Int16: return cursor.ReadArray<short>(count, key);
            case ValueType.UInt32: return cursor.ReadArray<uint>(count, key);
            case ValueType.Int32: return cursor.ReadArray<int>(count, key);
            case ValueType.UInt64: return cursor.ReadArray<ulong>(count, key);
            case ValueType.Int64: return cursor.ReadArray<long>(count, key);
            case ValueType.Float32: return cursor.ReadArray<float>(count, key);
            case ValueType.Float64: return cursor.ReadArray<double>(count, key);
            case ValueType.Bool: return Array.ConvertAll(cursor.ReadArray<byte>(count, key), b => b != 0);
            case ValueType.String:
                string[] strings = new string[count];
                for (int i = 0; i < count; i++) strings[i] = cursor.ReadString(StringBytesMax, key);
                return strings;
            default:
                object[] arrays = new object[count];
                for (int i = 0; i < count; i++) arrays[i] = ReadArray(cursor, key, depth + 1);
                return arrays;
        }
    }

    static int MinBytes(ValueType type) => type switch
    {
        ValueType.UInt8 or ValueType.Int8 or ValueType.Bool => 1,
        ValueType.UInt16 or ValueType.Int16 => 2,
        ValueType.UInt32 or ValueType.Int32 or ValueType.Float32 => 4,
        ValueType.Array => 4 + 8,
        _ => 8,
    };
}
