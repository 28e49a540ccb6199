using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Runtime;
using LongCtx.Engine.Scheduling;
using Microsoft.Win32.SafeHandles;

namespace LongCtx.Engine.States;

/// <summary>
/// Reads a sequence: a slice is read, hashed and checked here while the engine copies the slice before it into its blocks. Nothing that was
/// read is used before the checksum at the end has been compared. The file is read and not mapped: one that shrinks meanwhile is an error then.
/// </summary>
internal sealed class SequenceReader : IDisposable
{
    readonly string _path;
    readonly SafeFileHandle _file;
    readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    long _position;

    SequenceReader(string path, SafeFileHandle file, SequenceKind wanted)
    {
        (_path, _file) = (path, file);
        long fileLength = RandomAccess.GetLength(file);
        Span<byte> announced = stackalloc byte[8];
        Fill(announced);
        byte[] json = new byte[SequenceHeader.CheckLength(path, BinaryPrimitives.ReadUInt64LittleEndian(announced), fileLength)];
        Fill(json);
        Header = SequenceHeader.Parse(path, json, fileLength, wanted);
    }

    public SequenceHeader Header { get; }

    /// <exception cref="SequenceFileException">It cannot be read, or is not what is wanted.</exception>
    public static SequenceReader Open(string path, SequenceKind wanted)
    {
        SafeFileHandle? file = null;
        try
        {
            file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, FileOptions.SequentialScan);
            return new(path, file, wanted);
        }
        catch (Exception e)
        {
            file?.Dispose();
            if (e is IOException or UnauthorizedAccessException or NotSupportedException) throw new SequenceFileException(path, "cannot be read: " + e.Message, e);
            throw;
        }
    }

    /// <summary>Fills the blocks of a sequence that has the header's state.</summary>
    /// <exception cref="SequenceFileException">It is damaged; then the blocks hold numbers that mean nothing.</exception>
    public async Task FillAsync(InferenceEngine engine, IModelRunner runner, KvSequence cache, CancellationToken cancellation)
    {
        IReadOnlyList<SequenceSlice> slices = Header.Slices();
        int largest = slices.Count == 0 ? 0 : slices.Max(s => s.Bytes);
        byte[] current = ArrayPool<byte>.Shared.Rent(largest), next = ArrayPool<byte>.Shared.Rent(largest);
        Task copy = Task.CompletedTask;
        try
        {
            foreach (SequenceSlice slice in slices)
            {
                cancellation.ThrowIfCancellationRequested();
                ReadSlice(slice, current); // the thread of a pool: reading a file does not get faster by being asynchronous
                await copy.ConfigureAwait(false);
                copy = CopyAsync(slice, current);
                (current, next) = (next, current);
            }
        }
        catch (IOException e)
        {
            throw new SequenceFileException(_path, "cannot be read: " + e.Message, e);
        }
        finally
        {
            await copy.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // the engine may be reading from a buffer
            ArrayPool<byte>.Shared.Return(current);
            ArrayPool<byte>.Shared.Return(next);
        }

        await copy.ConfigureAwait(false);
        CheckSum();

        Task CopyAsync(SequenceSlice slice, byte[] buffer) => engine.BetweenSteps(() =>
        {
            for (int i = 0; i < slice.Blocks.Count; i++)
                runner.Write(cache[slice.Table][slice.Blocks.First + i], slice.Part, buffer.AsSpan(i * slice.BlockBytes, slice.BlockBytes));
            return true;
        });
    }

    void ReadSlice(SequenceSlice slice, byte[] buffer)
    {
        long start = _position;
        Span<byte> bytes = buffer.AsSpan(0, slice.Bytes);
        Fill(bytes);
        if (!KvNumbers.AreFit(bytes, slice.Part))
            throw new SequenceFileException(_path, $"holds a number behind byte {start} that no cache holds: it is damaged");
    }

    void CheckSum()
    {
        Span<byte> computed = stackalloc byte[SequenceHeader.ChecksumBytes], stored = stackalloc byte[SequenceHeader.ChecksumBytes];
        _hash.GetHashAndReset(computed);
        Fill(stored);
        if (!stored.SequenceEqual(computed)) throw new SequenceFileException(_path, "does not have the checksum that it says: it is damaged");
    }

    void Fill(Span<byte> bytes)
    {
        for (int done = 0; done < bytes.Length;)
        {
            int read = RandomAccess.Read(_file, bytes[done..], _position + done);
            if (read == 0) throw new SequenceFileException(_path, $"ends after {_position + done} bytes: it is truncated");
            done += read;
        }

        _hash.AppendData(bytes);
        _position += bytes.Length;
    }

    public void Dispose()
    {
        _hash.Dispose();
        _file.Dispose();
    }
}
