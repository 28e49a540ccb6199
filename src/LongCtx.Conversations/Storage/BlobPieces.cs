using System.Buffers;

namespace LongCtx.Conversations.Storage;

/// <summary>Stores keep a blob in pieces, so that no write, reply or array is as big as the blob, and other writes get in between.</summary>
public static class BlobPieces
{
    /// <summary>Bytes of every piece but the last.</summary>
    public const int Size = 1 << 20;

    /// <summary>Copies one piece at a time, as they are asked for. Nothing is one empty piece.</summary>
    public static IEnumerable<byte[]> Split(ReadOnlySequence<byte> content)
    {
        for (; content.Length > Size; content = content.Slice(Size)) yield return content.Slice(0, Size).ToArray();
        yield return content.ToArray();
    }
}
