using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>
/// Turns tokens into text as they come: what it returns is final and never ends inside a character. All that it returns, put together,
/// is <see cref="Tokenizer.Decode"/> of all tokens. For one stream and one thread.
/// </summary>
/// <param name="tokenizer">The model's tokenizer.</param>
/// <param name="skipSpecial">Whether special tokens give no text.</param>
/// <param name="continuation">Whether the tokens continue a text, so that a leading blank belongs to it.</param>
public sealed class StreamingDecoder(Tokenizer tokenizer, bool skipSpecial = false, bool continuation = false)
{
    readonly Decoder _decoder = Encoding.UTF8.GetDecoder();
    bool _started;

    /// <summary>The text that became final with this token; empty while a character is incomplete.</summary>
    public string Append(int id)
    {
        if (skipSpecial && tokenizer.IsSpecial(id)) return "";
        ReadOnlySpan<byte> bytes = tokenizer.TokenBytes(id);
        if (!_started && !continuation && tokenizer.LeadingSpaceOf(id, bytes)) bytes = bytes[1..];
        _started = true;
        return Decode(bytes, flush: false);
    }

    /// <summary>Ends the stream: an unfinished character becomes U+FFFD.</summary>
    public string Flush()
    {
        _started = false;
        return Decode([], flush: true);
    }

    string Decode(ReadOnlySpan<byte> bytes, bool flush)
    {
        // At most one unit per byte, and the replacements of three bytes held back.
        Span<char> text = bytes.Length <= 256 ? stackalloc char[bytes.Length + 4] : new char[bytes.Length + 4];
        return new string(text[.._decoder.GetChars(bytes, text, flush)]);
    }
}
