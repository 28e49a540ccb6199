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
    public void TryTruncate_OfTheNewest_LeavesTheWindowBeforeThemOrNothingChanged()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        PenaltyWindow window = new();
        List<int> tokens = [];
        int kept = 0, most = 0; // tokens that there ever were: those 2,048 before are forgotten
        for (int round = 0; round < 300; round++)
        {
            for (int i = random.Next(400); i > 0; i--)
            {
                tokens.Add(random.Next(100_000));
                window.Add(tokens[^1]);
                most = Math.Max(most, tokens.Count);
            }

            int count = random.Next(Math.Min(tokens.Count, random.Next(2) == 0 ? 50 : 1500) + 1);
            if (window.TryTruncate(count))
            {
                tokens.RemoveRange(tokens.Count - count, count);
                kept++;
            }
            else
            {
                Assert.True(tokens.Count - count - 1024 < most - 2048, $"seed {seed}, round {round}: {count} could have been taken back");
            }

            Assert.Equal(tokens.TakeLast(1024).Order(), Newest(window, 1024));
            Assert.Equal(tokens.TakeLast(window.ToArray().Length), window.ToArray());
            Assert.True(window.EndsWith([.. tokens.TakeLast(random.Next(3000))]));
        }

        Assert.InRange(kept, 100, 299);
    }

    [Fact]
    public void TryTruncate_IntoWhatIsNotKnown_IsRefused()
    {
        PenaltyWindow window = new([.. Enumerable.Range(0, 1024)], 5000);
        Assert.False(window.TryTruncate(1));
        window.Add(7);
        Assert.True(window.TryTruncate(1));
        PenaltyWindow whole = new([1, 2, 3], 3);
        Assert.True(whole.TryTruncate(3));
        Assert.Empty(whole.ToArray());
        Assert.False(whole.EndsWith([1]));
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
