using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Encodings.Web;
using System.Text.Json;
using LongCtx.Conversations.Storage;
using Microsoft.Data.Sqlite;

namespace LongCtx.Storage.Sqlite;

/// <summary>Records from rows (in the column order of <see cref="Sql"/>), and values for columns.</summary>
internal static class Rows
{
    /// <summary>Unescaped, so that labels can be read in sqlite3's shell.</summary>
    static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static StoredConversation Conversation(SqliteDataReader row) =>
        new(Key(row), new(row.GetString(2), row.GetInt64(3), JsonSerializer.Deserialize<Dictionary<string, string>>(row.GetString(4))!, TextOrNull(row, 5)))
        {
            Epoch = row.GetInt64(6),
            Seq = row.GetInt64(7),
            FirstSeq = row.GetInt64(8),
            State = row.GetString(9),
            Deleted = row.IsDBNull(10) ? null : row.GetInt64(10),
        };

    public static ConversationKey Key(SqliteDataReader row) => new(row.GetString(0), row.GetString(1));

    public static WriteGuard Guard(SqliteDataReader row) =>
        new(row.GetInt64(0), row.GetInt64(1), row.GetInt64(2), row.GetInt64(3), TextOrNull(row, 4), row.GetBoolean(5));

    public static StoredEvent Event(SqliteDataReader row) => new(row.GetInt64(0), row.GetString(1), Tokens(row, 2), row.GetString(3));

    public static TurnInfo Turn(SqliteDataReader row) =>
        new(row.GetInt32(0), row.GetString(1), row.GetString(2), Enum.Parse<TurnStatus>(row.GetString(3)), row.GetInt64(4), row.GetInt64(5));

    public static StoredSegment Segment(SqliteDataReader row) => new(row.GetInt32(0), row.GetInt64(1), Tokens(row, 2), row.GetString(3));

    public static string Metadata(IReadOnlyDictionary<string, string> metadata)
    {
        foreach (var (key, value) in metadata)
        {
            Utf8.Check(key);
            Utf8.Check(value);
        }
        return JsonSerializer.Serialize(metadata, Plain);
    }

    /// <summary>Little-endian int32, on any machine.</summary>
    public static byte[] Blob(ReadOnlySpan<int> tokens)
    {
        byte[] bytes = MemoryMarshal.AsBytes(tokens).ToArray();
        if (!BitConverter.IsLittleEndian) Reverse(bytes);
        return bytes;
    }

    static string? TextOrNull(SqliteDataReader row, int column) => row.IsDBNull(column) ? null : row.GetString(column);

    static int[] Tokens(SqliteDataReader row, int column)
    {
        byte[] bytes = row.GetFieldValue<byte[]>(column);
        if (!BitConverter.IsLittleEndian) Reverse(bytes);
        return MemoryMarshal.Cast<byte, int>(bytes).ToArray();
    }

    static void Reverse(Span<byte> bytes)
    {
        var numbers = MemoryMarshal.Cast<byte, int>(bytes);
        BinaryPrimitives.ReverseEndianness(numbers, numbers);
    }
}
