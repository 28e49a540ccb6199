using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using LongCtx.Conversations.Storage;
using StackExchange.Redis;

namespace LongCtx.Storage.Redis;

/// <summary>Records to and from what Redis holds: decimal numbers, UTF-8, JSON for what has fields, token ids as little-endian int32.</summary>
internal static class Values
{
    static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Unescaped, so that it can be read in redis-cli.</summary>
    static readonly JsonSerializerOptions Plain = new(JsonSerializerDefaults.Web)
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter() },
    };

    public static RedisValue Number(long number) => number.ToString(CultureInfo.InvariantCulture);

    public static long Number(RedisValue value) => long.Parse((string)value!, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);

    public static RedisValue Text(string text) => Encode(text);

    public static string Text(RedisValue value) => Utf8.GetString((byte[])value!);

    /// <summary>The text itself, which UTF-8 can hold.</summary>
    /// <exception cref="ArgumentException">It holds half a surrogate pair, which UTF-8 would replace silently.</exception>
    public static string Checked(string text)
    {
        Encode(text);
        return text;
    }

    static byte[] Encode(string text)
    {
        try
        {
            return Utf8.GetBytes(text);
        }
        catch (EncoderFallbackException e)
        {
            throw new ArgumentException($"The text cannot be stored: it holds half a surrogate pair at index {e.Index}. Replace it with U+FFFD or leave it out.", nameof(text), e);
        }
    }

    public static RedisValue Metadata(IReadOnlyDictionary<string, string> metadata)
    {
        foreach (var (name, value) in metadata)
        {
            Checked(name);
            Checked(value);
        }
        return JsonSerializer.Serialize(metadata, Plain);
    }

    public static RedisValue Turn(TurnInfo turn)
    {
        Checked(turn.TurnId);
        Checked(turn.PayloadHash);
        return JsonSerializer.Serialize(turn, Plain);
    }

    public static TurnInfo Turn(RedisValue value) => JsonSerializer.Deserialize<TurnInfo>((byte[])value!, Plain)!;

    public static RedisValue Tokens(ReadOnlyMemory<int> tokens)
    {
        byte[] bytes = MemoryMarshal.AsBytes(tokens.Span).ToArray();
        if (!BitConverter.IsLittleEndian) Reverse(bytes);
        return bytes;
    }

    static int[] Tokens(RedisValue value)
    {
        byte[] bytes = (byte[])value!;
        if (!BitConverter.IsLittleEndian) Reverse(bytes);
        return MemoryMarshal.Cast<byte, int>(bytes).ToArray();
    }

    static void Reverse(Span<byte> bytes)
    {
        var numbers = MemoryMarshal.Cast<byte, int>(bytes);
        BinaryPrimitives.ReverseEndianness(numbers, numbers);
    }

    /// <summary>From the reply of <see cref="Scripts.Find"/>; null when there is no such conversation.</summary>
    public static Head? Head(ConversationKey key, RedisResult reply)
    {
        var fields = (RedisValue[])reply!;
        if (fields.Length == 0 || fields[0].IsNull) return null;
        var metadata = JsonSerializer.Deserialize<Dictionary<string, string>>((byte[])fields[6]!, Plain)!;
        var seed = new ConversationSeed(Text(fields[4]), Number(fields[5]), metadata, fields[7].IsNull ? null : Text(fields[7]));
        var conversation = new StoredConversation(key, seed)
        {
            Epoch = Number(fields[0]),
            Seq = Number(fields[1]),
            FirstSeq = Number(fields[2]),
            State = Text(fields[3]),
            Deleted = fields[8].IsNull ? null : Number(fields[8]),
        };
        return new(conversation, fields[9] == "1");
    }

    /// <summary>From an entry of the log: id, then names and values in the order in which <see cref="Scripts.Append"/> wrote them.</summary>
    public static StoredEvent Event(RedisResult entry)
    {
        var (seq, fields) = Entry(entry);
        return new(seq, Text(fields[1]), Tokens(fields[3]), Text(fields[5]));
    }

    public static StoredSegment Segment(RedisResult entry)
    {
        var (number, fields) = Entry(entry);
        return new((int)number, Number(fields[1]), Tokens(fields[3]), Text(fields[5]));
    }

    static (long Number, RedisValue[] Fields) Entry(RedisResult entry)
    {
        var parts = (RedisResult[])entry!;
        string id = (string)parts[0]!;
        return (long.Parse(id.AsSpan(0, id.IndexOf('-', StringComparison.Ordinal)), NumberStyles.None, CultureInfo.InvariantCulture), (RedisValue[])parts[1]!);
    }
}

/// <param name="IsLive">Whether a turn is in progress.</param>
internal sealed record Head(StoredConversation Conversation, bool IsLive)
{
    public bool IsDeleted => Conversation.Deleted is not null;
}
