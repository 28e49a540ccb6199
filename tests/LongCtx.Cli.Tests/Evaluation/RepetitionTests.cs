using LongCtx.Cli.Evaluation;

namespace LongCtx.Cli.Tests.Evaluation;

public sealed class RepetitionTests
{
    [Fact]
    public void LongestRepeat_RandomTexts_EqualsBruteForce()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        for (int round = 0; round < 200; round++)
        {
            int alphabet = random.Next(1, 6);
            int[] tokens = [.. Enumerable.Range(0, random.Next(0, 40)).Select(_ => random.Next(alphabet))];
            Assert.True(BruteForce(tokens) == Repetition.LongestRepeat(tokens), $"seed {seed}: {string.Join(',', tokens)}");
        }
    }

    [Fact]
    public void LongestRepeat_Loop_CountsInFull() =>
        Assert.Equal(97, Repetition.LongestRepeat([.. Enumerable.Range(0, 100).Select(i => i % 3)]));

    [Fact]
    public void DistinctTrigrams_Loop_AreItsPeriod()
    {
        Assert.Equal(3, Repetition.DistinctTrigrams([.. Enumerable.Range(0, 100).Select(i => i % 3)]));
        Assert.Equal(98, Repetition.DistinctTrigrams([.. Enumerable.Range(0, 100)]));
        Assert.Equal(0, Repetition.DistinctTrigrams([1, 2]));
    }

    static int BruteForce(int[] tokens)
    {
        int longest = 0;
        for (int i = 0; i < tokens.Length; i++)
            for (int j = i + 1; j < tokens.Length; j++)
            {
                int common = 0;
                while (j + common < tokens.Length && tokens[i + common] == tokens[j + common]) common++;
                longest = Math.Max(longest, common);
            }

        return longest;
    }
}
