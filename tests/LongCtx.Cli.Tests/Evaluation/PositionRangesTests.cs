using LongCtx.Cli.Evaluation;

namespace LongCtx.Cli.Tests.Evaluation;

public sealed class PositionRangesTests
{
    [Theory]
    [InlineData(4096, 256)] // the checkpoints of Golden/pg19-7m/ppl.json are multiples of 512
    [InlineData(1536, 128)] // Golden/smollm2/ppl.json: 256
    [InlineData(9000, 500)] // ppl_long.json: 1,000
    [InlineData(20_000, 1000)]
    [InlineData(254_384, 10_000)] // ppl_book.json: 20,000
    [InlineData(5, 1)]
    public void Step_GoldenLengths_DividesTheirCheckpoints(int tokens, int expected) => Assert.Equal(expected, PositionRanges.Step(tokens));

    [Fact]
    public void Step_AnyLength_GivesAboutTenToTwentyRanges()
    {
        for (int tokens = 20; tokens < 100_000; tokens += 37)
        {
            int ranges = (tokens + PositionRanges.Step(tokens) - 1) / PositionRanges.Step(tokens);
            Assert.InRange(ranges, 10, 20);
        }
    }
}
