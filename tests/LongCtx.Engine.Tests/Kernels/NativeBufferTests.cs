using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Tests.Kernels;

public sealed unsafe class NativeBufferTests
{
    /// <summary>Pieces share chunks: none may overlap another, and used memory must come back as zeros.</summary>
    [Fact]
    public void Buffers_ManyOfAllSizesInRandomOrder_AreZeroedAlignedAndTheirOwn()
    {
        var random = new Random(11);
        var live = new List<(NativeBuffer Buffer, byte Mark)>();
        for (int round = 0; round < 400; round++)
        {
            if (live.Count > 0 && random.Next(3) == 0)
            {
                int i = random.Next(live.Count);
                using NativeBuffer buffer = live[i].Buffer;
                Assert.Equal(-1, new ReadOnlySpan<byte>(buffer.Pointer, (int)buffer.Bytes).IndexOfAnyExcept(live[i].Mark));
                live.RemoveAt(i);
            }
            else
            {
                int bytes = (int)Math.Exp(random.NextDouble() * Math.Log(20e6));
                var buffer = new NativeBuffer((nuint)bytes);
                Assert.Equal(0, (nint)buffer.Pointer % 64);
                var all = new Span<byte>(buffer.Pointer, bytes);
                Assert.Equal(-1, all.IndexOfAnyExcept((byte)0));
                byte mark = (byte)(1 + round % 255);
                all.Fill(mark);
                live.Add((buffer, mark));
            }
        }
        foreach ((NativeBuffer buffer, byte mark) in live)
        {
            Assert.Equal(-1, new ReadOnlySpan<byte>(buffer.Pointer, (int)buffer.Bytes).IndexOfAnyExcept(mark));
            buffer.Dispose();
        }
    }
}
