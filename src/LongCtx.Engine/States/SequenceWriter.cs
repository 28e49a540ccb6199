using System.Buffers;
using System.Security.Cryptography;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Runtime;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Engine.States;

/// <summary>Writes a sequence: the engine copies a slice out between two steps while the slice before it is hashed and written here.</summary>
internal static class SequenceWriter
{
    /// <summary>Returns the bytes written.</summary>
    public static async Task<long> WriteAsync(
        InferenceEngine engine, IModelRunner runner, KvSequence cache, SequenceHeader header, Stream to, CancellationToken cancellation)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] front = header.ToBytes();
        hash.AppendData(front);
        await to.WriteAsync(front, cancellation).ConfigureAwait(false);

        IReadOnlyList<SequenceSlice> slices = header.Slices();
        int largest = slices.Count == 0 ? 0 : slices.Max(s => s.Bytes);
        byte[] current = ArrayPool<byte>.Shared.Rent(largest), next = ArrayPool<byte>.Shared.Rent(largest);
        Task copy = Task.CompletedTask;
        try
        {
            if (slices.Count > 0) copy = CopyAsync(slices[0], current);
            for (int i = 0; i < slices.Count; i++)
            {
                await copy.ConfigureAwait(false);
                cancellation.ThrowIfCancellationRequested();
                if (i + 1 < slices.Count) copy = CopyAsync(slices[i + 1], next);
                Memory<byte> bytes = current.AsMemory(0, slices[i].Bytes);
                ClearUnused(slices[i], bytes.Span, header);
                hash.AppendData(bytes.Span);
                await to.WriteAsync(bytes, cancellation).ConfigureAwait(false);
                (current, next) = (next, current);
            }
        }
        finally
        {
            await copy.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // the engine may be writing into a buffer
            ArrayPool<byte>.Shared.Return(current);
            ArrayPool<byte>.Shared.Return(next);
        }

        await to.WriteAsync(hash.GetHashAndReset(), cancellation).ConfigureAwait(false);
        return front.Length + header.PayloadBytes + SequenceHeader.ChecksumBytes;

        Task CopyAsync(SequenceSlice slice, byte[] buffer) => engine.BetweenSteps(() =>
        {
            for (int i = 0; i < slice.Blocks.Count; i++)
                runner.Read(cache[slice.Table][slice.Blocks.First + i], slice.Part, buffer.AsSpan(i * slice.BlockBytes, slice.BlockBytes));
            return true;
        });
    }

    /// <summary>Slots that hold no token may hold another conversation's.</summary>
    static void ClearUnused(SequenceSlice slice, Span<byte> bytes, SequenceHeader header)
    {
        (long from, long end) = header.Cache.Tokens(slice.Table);
        for (int i = 0; i < slice.Blocks.Count; i++)
        {
            long start = (slice.Blocks.First + i) * BlockPool.BlockSize;
            int first = (int)Math.Clamp(from - start, 0, BlockPool.BlockSize), last = (int)Math.Clamp(end - start, first, BlockPool.BlockSize);
            header.Kind.Layout.ClearOutside(bytes.Slice(i * slice.BlockBytes, slice.BlockBytes), slice.Part, first, last);
        }
    }
}
