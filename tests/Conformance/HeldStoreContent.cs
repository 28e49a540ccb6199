using System.Buffers;

namespace LongCtx.Conversations.Storage.Tests;

/// <summary>Bytes for a blob, the last of which are not there until <see cref="Release"/>: the put stands in the middle meanwhile.</summary>
public sealed class HeldStoreContent : IDisposable
{
    readonly TaskCompletionSource reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
    readonly ManualResetEventSlim released = new();

    public HeldStoreContent(byte[] bytes)
    {
        int held = bytes.Length - BlobPieces.Size / 2;
        Segment last = new(new HeldMemory(bytes[held..], Wait).Memory, held, null), first = new(bytes.AsMemory(0, held), 0, last);
        Sequence = new(first, 0, last, last.Memory.Length);
    }

    public ReadOnlySequence<byte> Sequence { get; }

    /// <summary>All but the last bytes have been taken.</summary>
    public Task Reached => reached.Task;

    public void Release() => released.Set();

    public void Dispose() => released.Dispose();

    void Wait()
    {
        reached.TrySetResult();
        released.Wait(TestContext.Current.CancellationToken);
    }

    sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory, long index, Segment? next) => (Memory, RunningIndex, Next) = (memory, index, next);
    }

    sealed class HeldMemory(byte[] bytes, Action wait) : MemoryManager<byte>
    {
        public override Memory<byte> Memory => CreateMemory(bytes.Length);

        public override Span<byte> GetSpan()
        {
            wait();
            return bytes;
        }

        public override MemoryHandle Pin(int elementIndex = 0) => throw new NotSupportedException("Not for native code.");

        public override void Unpin() => throw new NotSupportedException("Not for native code.");

        protected override void Dispose(bool disposing)
        {
            // The bytes are managed.
        }
    }
}
