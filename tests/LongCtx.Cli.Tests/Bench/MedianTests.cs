using LongCtx.Cli.Bench;

namespace LongCtx.Cli.Tests.Bench;

public sealed class MedianTests
{
    [Fact]
    public void Of_OddAndEvenCounts_IsTheMiddle()
    {
        Assert.Equal(2, Median.Of([3, 1, 2]));
        Assert.Equal(2.5, Median.Of([4, 1, 2, 3]));
        Assert.Equal(7, Median.Of([7]));
        Assert.Throws<ArgumentException>(() => Median.Of([]));
    }

    [Fact]
    public void Of_Runs_MeasuresThatOften()
    {
        double next = 0;
        Assert.Equal(2, Median.Of(3, () => ++next));
        Assert.Equal(3, next);
    }
}
