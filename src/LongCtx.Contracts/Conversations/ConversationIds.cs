using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace LongCtx;

/// <summary>
/// Ids that route themselves: <c>conv_</c> + 8 hex digits of the model's name + UUIDv7, <c>resp_</c> + the same 40 digits + <c>_</c> + turn,
/// <c>msg_</c> + the same + <c>_</c> + turn + <c>_</c> + number.
/// </summary>
public static class ConversationIds
{
    const int TagDigits = 8, BodyDigits = TagDigits + 32;

    /// <summary>Milliseconds and, in the lowest 12 bits, the number within one of them, of the newest id of this process.</summary>
    static long s_newest;

    /// <summary>A new id; those of one process rise, also within a millisecond (RFC 9562, 6.2, method 1), so that a listing by id is one by age.</summary>
    public static string New(string model)
    {
        string uuid = Guid.CreateVersion7().ToString("N");
        long now = long.Parse(uuid.AsSpan(0, 12), NumberStyles.HexNumber, CultureInfo.InvariantCulture) << 12, before, next;
        do
        {
            before = Volatile.Read(ref s_newest);
            next = Math.Max(now, before + 1);
        }
        while (Interlocked.CompareExchange(ref s_newest, next, before) != before);
        return string.Create(CultureInfo.InvariantCulture, $"conv_{ModelTag(model)}{next >> 12:x12}7{next & 0xfff:x3}{uuid.AsSpan(16)}");
    }

    /// <summary>
    /// The same id for the same key of the same tenant: creation with an idempotency key. A key that is a UUIDv7 passes its time on, so that the
    /// conversation is listed by its age.
    /// </summary>
    public static string FromKey(string tenant, string model, string key)
    {
        const int TimeDigits = 12, UuidDigits = 32;
        string time = Guid.TryParse(key, out Guid uuid) && uuid.Version == 7 ? uuid.ToString("N")[..TimeDigits] + "7" : "";
        return "conv_" + ModelTag(model) + time + Hex(SHA256.HashData(Encoding.UTF8.GetBytes(tenant + "\n" + model + "\n" + key)), UuidDigits - time.Length);
    }

    /// <summary>What <see cref="TagOf"/> of a conversation with this model gives.</summary>
    public static string ModelTag(string model) => Hex(SHA256.HashData(Encoding.UTF8.GetBytes(model)), TagDigits);

    public static string TagOf(string conversation) => conversation["conv_".Length..][..TagDigits];

    public static bool IsConversation(string id) => id.StartsWith("conv_", StringComparison.Ordinal) && IsBody(id.AsSpan(5));

    public static string Response(string conversation, int turn) =>
        string.Create(CultureInfo.InvariantCulture, $"resp_{conversation[5..]}_{turn}");

    public static string Message(string conversation, int turn, int number) =>
        string.Create(CultureInfo.InvariantCulture, $"msg_{conversation[5..]}_{turn}_{number}");

    /// <summary>Conversation and turn of a response.</summary>
    public static bool TryParseResponse(string id, out string conversation, out int turn) => TryParse(id, "resp_", out conversation, out turn, out string rest) && rest.Length == 0;

    /// <summary>Conversation, turn and number of an item.</summary>
    public static bool TryParseMessage(string id, out string conversation, out int turn, out int number)
    {
        number = 0;
        return TryParse(id, "msg_", out conversation, out turn, out string rest) && rest.StartsWith('_') && TryNumber(rest[1..], out number);
    }

    static bool TryParse(string id, string prefix, out string conversation, out int turn, out string rest)
    {
        (conversation, turn, rest) = ("", 0, "");
        if (!id.StartsWith(prefix, StringComparison.Ordinal) || id.Length < prefix.Length + BodyDigits + 2) return false;
        string body = id.Substring(prefix.Length, BodyDigits);
        if (!IsBody(body) || id[prefix.Length + BodyDigits] != '_') return false;
        string tail = id[(prefix.Length + BodyDigits + 1)..];
        int end = tail.IndexOf('_', StringComparison.Ordinal);
        if (!TryNumber(end < 0 ? tail : tail[..end], out turn) || turn == 0) return false;
        (conversation, rest) = ("conv_" + body, end < 0 ? "" : tail[end..]);
        return true;
    }

    static bool TryNumber(string text, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && (text.Length == 1 || text[0] != '0');

    static bool IsBody(ReadOnlySpan<char> text) => text.Length == BodyDigits && !text.ContainsAnyExcept("0123456789abcdef");

    static string Hex(byte[] bytes, int digits) => Convert.ToHexStringLower(bytes)[..digits];
}
