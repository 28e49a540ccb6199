using System.Runtime.CompilerServices;
using System.Text;

namespace LongCtx.Client;

/// <summary>A text in pieces of about a thousand tokens, cut between characters.</summary>
internal static class TextPieces
{
    public const int PieceBytes = 4096;

    static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    /// <summary>Each piece with the number of bytes up to its end.</summary>
    /// <exception cref="LongCtxException">The text is not UTF-8; the pieces before that place were given.</exception>
    public static async IAsyncEnumerable<(string Text, long End)> ReadAsync(Stream text, [EnumeratorCancellation] CancellationToken cancellation)
    {
        byte[] buffer = new byte[PieceBytes];
        long end = 0;
        int held = 0;
        while (true)
        {
            int read = await text.ReadAtLeastAsync(buffer.AsMemory(held), buffer.Length - held, throwOnEndOfStream: false, cancellation).ConfigureAwait(false);
            bool isEnd = held + read < buffer.Length;
            held += read;
            if (held == 0) yield break;
            int whole = isEnd ? held : WholeCharacters(buffer.AsSpan(0, held));
            string piece;
            try
            {
                piece = Strict.GetString(buffer, 0, whole);
            }
            catch (DecoderFallbackException e)
            {
                throw new LongCtxException(ErrorCode.InvalidRequest, $"the text is not UTF-8 behind byte {end + e.Index}: convert it first", inner: e);
            }
            end += whole;
            yield return (piece, end);
            if (isEnd) yield break;
            buffer.AsSpan(whole, held - whole).CopyTo(buffer);
            held -= whole;
        }
    }

    /// <summary>Length without the beginning of a character at the end; the whole where that is no UTF-8 anyway.</summary>
    static int WholeCharacters(ReadOnlySpan<byte> bytes)
    {
        const int CharacterBytesMax = 4;
        for (int back = 1; back <= Math.Min(CharacterBytesMax, bytes.Length); back++)
        {
            byte b = bytes[^back];
            if ((b & 0xC0) == 0x80) continue;
            int length = b switch { >= 0xF0 => 4, >= 0xE0 => 3, >= 0xC0 => 2, _ => 1 };
            return length > back ? bytes.Length - back : bytes.Length;
        }
        return bytes.Length;
    }
}
