using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Tests.Sampling;

public sealed class LogprobsTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(7, 0)]
    [InlineData(20, 20)]
    [InlineData(1003, 5)]
    [InlineData(49152, 20)]
    public void Compute_OfRandomLogits_IsTheLogarithmOfTheSoftmax(int vocabulary, int top)
    {
        Random random = new(vocabulary);
        for (int trial = 0; trial < 20; trial++)
        {
            // Every other trial has many ties.
            float[] logits = Enumerable.Range(0, vocabulary).Select(_ => trial % 2 == 0 ? 20 * random.NextSingle() : random.Next(5)).ToArray();
            double logSum = Math.Log(logits.Sum(l => Math.Exp(l)));
            int token = random.Next(vocabulary);
            int[] ids = new int[top];
            float[] values = new float[top];

            Assert.Equal(logits[token] - logSum, Logprobs.Compute(logits, token, ids, values), 1e-4);
            int[] expected = [.. Enumerable.Range(0, vocabulary).OrderByDescending(id => logits[id]).Take(top)];
            Assert.Equal(expected, ids);
            for (int i = 0; i < top; i++) Assert.Equal(logits[expected[i]] - logSum, values[i], 1e-4);
        }
    }

    [Fact]
    public void Compute_OfLargeLogits_DoesNotOverflow()
    {
        Assert.Equal(-Math.Log(2), Logprobs.Compute([1e30f, 1e30f, -1e30f], 0, [], []), 1e-6);
    }

    [Theory]
    [InlineData(21, 21)]
    [InlineData(3, 2)]
    public void Compute_WithSpansThatDoNotFit_IsRefused(int ids, int values)
    {
        Assert.Throws<ArgumentException>(() => Logprobs.Compute(new float[100], 0, new int[ids], new float[values]));
    }
}
