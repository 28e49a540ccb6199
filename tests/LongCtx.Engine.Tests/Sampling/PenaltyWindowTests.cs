using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Tests.Sampling;

public sealed class PenaltyWindowTests
{
    static int[] Newest(PenaltyWindow window, int count)
    {
        window.Newest(count, out ReadOnlySpan<int> first, out ReadOnlySpan<int> second);
        return [.. first.ToArray().Concat(second.ToArray()).Order()];
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(1023)]
    [InlineData(1024)]
    [InlineData(1025)]
    [InlineData(5000)]
    public void Newest_AfterSoManyTokens_HoldsTheLastOnes(int total)
    {
        int[] tokens = Enumerable.Range(0, total).ToArray();
        PenaltyWindow added = new(), made = new(tokens);
        foreach (int token in tokens) added.Add(token);
        Assert.Equal(Math.Min(total, 1024), added.Count);
        foreach (int count in (int[])[0, 1, 100, 1023, 1024])
        {
            Assert.Equal(tokens.TakeLast(count), Newest(added, count));
            Assert.Equal(tokens.TakeLast(count), Newest(made, count));
        }
    }

    [Fact]
    public void Fork_ThenAdd_LeavesTheOriginalAsItWas()
    {
        PenaltyWindow window = new([1, 2, 3]);
        PenaltyWindow fork = window.Fork();
        fork.Add(4);
        window.Add(5);
        Assert.Equal([1, 2, 3, 5], Newest(window, 1024));
        Assert.Equal([1, 2, 3, 4], Newest(fork, 1024));
    }
}
