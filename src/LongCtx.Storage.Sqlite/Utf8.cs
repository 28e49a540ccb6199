using System.Text;

namespace LongCtx.Storage.Sqlite;

internal static class Utf8
{
    static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>UTF-8 would silently replace half a surrogate pair, and two different ids could become one.</summary>
    /// <exception cref="ArgumentException">The text holds one.</exception>
    public static void Check(string text)
    {
        try
        {
            Strict.GetByteCount(text);
        }
        catch (EncoderFallbackException e)
        {
            throw new ArgumentException($"The text cannot be stored: it holds half a surrogate pair at index {e.Index}. Replace it with U+FFFD or leave it out.", nameof(text), e);
        }
    }
}
