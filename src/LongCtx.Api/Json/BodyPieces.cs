using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Unicode;

namespace LongCtx.Api.Json;

/// <param name="End">Bytes of the body up to the end of this piece.</param>
internal readonly record struct BodyPiece(string Text, long End);

/// <summary>Reads a body in pieces while it arrives; no more than one piece is held.</summary>
internal static class BodyPieces
{
    /// <summary>Lines with their line feeds.</summary>
    public static async IAsyncEnumerable<BodyPiece> LinesAsync(PipeReader body, int bytesMax, [EnumeratorCancellation] CancellationToken cancellation)
    {
        long end = 0, searched = 0;
        while (true)
        {
            ReadResult read = await body.ReadAsync(cancellation);
            ReadOnlySequence<byte> waiting = read.Buffer;
            try
            {
                while (waiting.Slice(searched).PositionOf((byte)'\n') is { } feed)
                {
                    ReadOnlySequence<byte> line = waiting.Slice(0, waiting.GetPosition(1, feed));
                    if (line.Length > bytesMax) throw TooLong(bytesMax);
                    yield return new(Decode(line, end == 0), end += line.Length);
                    (waiting, searched) = (waiting.Slice(line.End), 0);
                }
                if (waiting.Length > bytesMax) throw TooLong(bytesMax);
                if (read.IsCompleted && waiting.Length > 0) yield return new(Decode(waiting, end == 0), end + waiting.Length);
                if (read.IsCompleted) yield break;
                searched = waiting.Length;
            }
            finally
            {
                body.AdvanceTo(waiting.Start, waiting.End); // also when the consumer leaves: the server reads the rest itself
            }
        }
    }

    /// <summary>Pieces of at most <paramref name="bytesMax"/>, cut where <see cref="Cut"/> says.</summary>
    public static async IAsyncEnumerable<BodyPiece> TextAsync(PipeReader body, int bytesMax, [EnumeratorCancellation] CancellationToken cancellation)
    {
        long end = 0;
        while (true)
        {
            ReadResult read = await body.ReadAtLeastAsync(bytesMax + 1, cancellation);
            ReadOnlySequence<byte> waiting = read.Buffer;
            try
            {
                while (waiting.Length > bytesMax || (read.IsCompleted && waiting.Length > 0))
                {
                    long length = waiting.Length <= bytesMax ? waiting.Length : Cut(waiting.Slice(0, bytesMax + 1).ToArray());
                    yield return new(Decode(waiting.Slice(0, length), end == 0), end += length);
                    waiting = waiting.Slice(length);
                }
                if (read.IsCompleted) yield break;
            }
            finally
            {
                body.AdvanceTo(waiting.Start, waiting.End);
            }
        }
    }

    /// <summary>
    /// Length of the piece at the beginning of a text of one byte more than a piece may have: up to the last line feed, otherwise to the last
    /// space, otherwise to the last whole character. The same text is thus cut alike however it arrives.
    /// </summary>
    static int Cut(ReadOnlySpan<byte> text)
    {
        int length = text.Length - 1;
        ReadOnlySpan<byte> piece = text[..length];
        if (piece.LastIndexOf((byte)'\n') is var line and >= 0) return line + 1;
        if (piece.LastIndexOf((byte)' ') is var space and >= 0) return space + 1;
        while (length > text.Length - 4 && (text[length] & 0xC0) == 0x80) length--; // the byte behind the cut begins a character
        return length;
    }

    static string Decode(ReadOnlySequence<byte> piece, bool isFirst)
    {
        byte[] bytes = piece.ToArray();
        if (!Utf8.IsValid(bytes)) throw RequestBody.NotUtf8();
        return Encoding.UTF8.GetString(isFirst && bytes.AsSpan().StartsWith("\uFEFF"u8) ? bytes.AsSpan(3) : bytes);
    }

    static ApiException TooLong(int bytesMax) =>
        new(413, "request_too_large", $"A line of the body is longer than this server's limit of {bytesMax} bytes.");
}
