namespace LongCtx.Conversations.Storage;

/// <summary>Reads a blob piece by piece, each when it is come to: forward only, and asynchronously only.</summary>
/// <param name="what">Names the blob, for messages.</param>
/// <param name="length">In bytes.</param>
/// <param name="readPiece">The piece of this number (0, 1, 2, ...); null when the blob was replaced or deleted since. Pieces never change.</param>
public sealed class BlobStream(string what, long length, Func<int, CancellationToken, ValueTask<byte[]?>> readPiece) : Stream
{
    byte[] piece = [];
    int next; // number of the piece after this one
    long position;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    /// <summary>Known, although the stream cannot seek.</summary>
    public override long Length => length;

    public override long Position
    {
        get => position;
        set => throw new NotSupportedException("A blob is read forward only.");
    }

    /// <exception cref="StoreException">The store failed, or the blob was replaced or deleted since the stream was opened.</exception>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (position == length || buffer.IsEmpty) return 0;
        int start = (int)(position % BlobPieces.Size);
        if (position == (long)next * BlobPieces.Size)
        {
            piece = await readPiece(next, cancellationToken).ConfigureAwait(false)
                ?? throw new StoreException($"{what} was replaced or deleted while it was read. Read it again.", isTransient: true);
            next++;
        }
        int count = Math.Min(buffer.Length, piece.Length - start);
        piece.AsMemory(start, count).CopyTo(buffer);
        position += count;
        return count;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("A blob comes from a store: read it with ReadAsync.");

    public override void Flush()
    {
        // Nothing is written.
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException("A blob is read forward only.");

    public override void SetLength(long value) => throw new NotSupportedException("A blob's stream is for reading.");

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("A blob's stream is for reading.");
}
