using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Tests.Sampling;

public sealed class SamplerTests
{
    const int SmolLM2Vocabulary = 49152;

    static readonly PenaltyWindow s_nothing = new();

    public enum Shape { Peaked, Flat, Ties, Outlier, Equal }

    static float[] Logits(Random random, int count, Shape shape) => Enumerable.Range(0, count).Select(_ =>
    {
        double normal = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
        return shape switch
        {
            Shape.Peaked => (float)(3 * normal),
            Shape.Flat => (float)(0.01 * normal),
            Shape.Ties => MathF.Round((float)normal * 2) / 2,
            Shape.Outlier => random.Next(count) < 3 ? 1e30f : (float)normal,
            _ => 1.5f,
        };
    }).ToArray();

    [Theory]
    [CombinatorialSizes]
    public void Sample_WithAnyFilters_DrawsWhatAFullSortDraws(int vocabulary, Shape shape)
    {
        int seed = vocabulary * 10 + (int)shape;
        Random random = new(seed);
        for (int trial = 0; trial < (vocabulary > 2000 ? 6 : 60); trial++)
        {
            SamplingOptions options = new()
            {
                Temperature = 0.05f + 1.95f * random.NextSingle(),
                TopK = random.Next(3) == 0 ? 0 : 1 + (int)(vocabulary * Math.Pow(random.NextDouble(), 4)),
                TopP = random.Next(3) == 0 ? 1 : 0.001f + 0.999f * random.NextSingle(),
                MinP = random.Next(3) == 0 ? random.NextSingle() * 0.3f : 0,
                RepetitionPenalty = random.Next(2) == 0 ? 1 : 0.5f + 2 * random.NextSingle(),
                PresencePenalty = random.Next(2) == 0 ? 0 : 4 * random.NextSingle() - 2,
                FrequencyPenalty = random.Next(2) == 0 ? 0 : 4 * random.NextSingle() - 2,
                PenaltyWindow = random.Next(SamplingOptions.PenaltyWindowMax + 1),
                LogitBias = random.Next(2) == 0 ? null : new Dictionary<int, float> { [random.Next(vocabulary)] = 3, [vocabulary - 1] = -2.5f },
                Seed = (ulong)random.NextInt64(),
            };
            float[] logits = Logits(random, vocabulary, shape), before = [.. logits];
            int[] sequence = Enumerable.Range(0, random.Next(1500)).Select(_ => random.Next(Math.Min(vocabulary, 300))).ToArray();
            double[] expected = NaiveSampler.Probabilities(NaiveSampler.Adjust(logits, options, sequence), options);

            Sampler sampler = new(options, vocabulary);
            PenaltyWindow window = new(sequence);
            for (long index = 0; index < 20; index++)
            {
                int token = sampler.Sample(logits, window, index);
                double from = expected.Take(token).Sum(), uniform = Philox.Uniform(options.Seed, index);
                Assert.True(expected[token] > 0 && uniform > from - 1e-5 && uniform < from + expected[token] + 1e-5,
                    $"seed {seed}, trial {trial}, index {index}: token {token} holds [{from}, {from + expected[token]}), drawn at {uniform} under {options}");
            }
            Assert.Equal(before, logits);
        }
    }

    [AttributeUsage(AttributeTargets.Method)]
    sealed class CombinatorialSizesAttribute : Xunit.v3.DataAttribute
    {
        public override ValueTask<IReadOnlyCollection<ITheoryDataRow>> GetData(System.Reflection.MethodInfo testMethod, Xunit.Sdk.DisposalTracker disposalTracker) =>
            new([.. from size in (int[])[1, 2, 15, 16, 17, 257, 1000, 5003, SmolLM2Vocabulary] from shape in Enum.GetValues<Shape>() select new TheoryDataRow<int, Shape>(size, shape)]);

        public override bool SupportsDiscoveryEnumeration() => true;
    }

    [Theory]
    [InlineData(1f, 0, 1f, 0f)]
    [InlineData(0.7f, 0, 1f, 0f)]
    [InlineData(1.5f, 12, 1f, 0f)]
    [InlineData(1f, 0, 0.8f, 0f)]
    [InlineData(1f, 0, 1f, 0.1f)]
    [InlineData(1.2f, 20, 0.9f, 0.05f)]
    public void Sample_OverManyIndices_FollowsTheDistribution(float temperature, int topK, float topP, float minP)
    {
        const int Draws = 100_000;
        SamplingOptions options = new() { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP, Seed = 20260101 };
        float[] logits = Logits(new Random(5), 40, Shape.Peaked).Select(l => l / 3).ToArray();
        double[] expected = NaiveSampler.Probabilities(logits, options);
        Sampler sampler = new(options, logits.Length);
        int[] counts = new int[logits.Length];
        for (long index = 0; index < Draws; index++) counts[sampler.Sample(logits, s_nothing, index)]++;

        double chiSquare = 0;
        int freedom = -1;
        for (int id = 0; id < logits.Length; id++)
        {
            if (expected[id] == 0)
            {
                Assert.Equal(0, counts[id]);
                continue;
            }
            freedom++;
            chiSquare += Math.Pow(counts[id] - Draws * expected[id], 2) / (Draws * expected[id]);
        }
        // Wilson-Hilferty: the 99.9 % point of chi-square.
        double limit = freedom * Math.Pow(1 - 2.0 / (9 * freedom) + 3.09 * Math.Sqrt(2.0 / (9 * freedom)), 3);
        Assert.True(chiSquare < limit, $"chi-square {chiSquare:f1} with {freedom} degrees of freedom exceeds {limit:f1}");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(16)]
    [InlineData(1003)]
    public void Sample_Greedy_TakesTheLowestIdOfTheLargestLogits(int vocabulary)
    {
        Random random = new(vocabulary);
        Sampler sampler = new(SamplingOptions.Greedy, vocabulary);
        for (int trial = 0; trial < 200; trial++)
        {
            float[] logits = Logits(random, vocabulary, trial % 2 == 0 ? Shape.Ties : Shape.Peaked);
            Assert.Equal(NaiveSampler.Greedy(logits), sampler.Sample(logits, s_nothing, trial));
        }
    }

    // Token 0 leads by the model's logits; it is penalised and falls behind token 1, or just does not.
    [Theory]
    [InlineData(3f, 2f, 1, 1.6f, 0f, 0f, 1)] // 3 / 1.6 < 2
    [InlineData(3f, 2f, 1, 1.4f, 0f, 0f, 0)] // 3 / 1.4 > 2
    [InlineData(3f, 2f, 9, 1.4f, 0f, 0f, 0)] // once, however often it occurred
    [InlineData(-1f, -1.5f, 1, 1.6f, 0f, 0f, 1)] // -1 * 1.6 < -1.5
    [InlineData(-1f, -1.5f, 1, 1.4f, 0f, 0f, 0)]
    [InlineData(3f, 2f, 1, 1f, 1.1f, 0f, 1)]
    [InlineData(3f, 2f, 9, 1f, 0.9f, 0f, 0)]
    [InlineData(3f, 2f, 4, 1f, 0f, 0.3f, 1)] // 3 - 4 * 0.3 < 2
    [InlineData(3f, 2f, 3, 1f, 0f, 0.3f, 0)]
    [InlineData(2f, 3f, 1, 1f, -1.1f, 0f, 0)] // a negative penalty lifts
    public void Sample_WithOnePenalty_FollowsItsFormula(float first, float second, int occurrences, float repetition, float presence, float frequency, int expected)
    {
        Sampler sampler = new(new SamplingOptions { Temperature = 0, RepetitionPenalty = repetition, PresencePenalty = presence, FrequencyPenalty = frequency }, 3);
        PenaltyWindow window = new(Enumerable.Repeat(0, occurrences).ToArray());
        Assert.Equal(expected, sampler.Sample([first, second, -9], window, 0));
        Assert.Equal(expected, sampler.Sample([first, second, -9], window, 1)); // the counts are clean again
    }

    [Theory]
    [InlineData(9, 0)]
    [InlineData(10, 1)]
    public void Sample_WithAShortPenaltyWindow_ForgetsOlderTokens(int penaltyWindow, int expected)
    {
        Sampler sampler = new(new SamplingOptions { Temperature = 0, PresencePenalty = 2, PenaltyWindow = penaltyWindow }, 3);
        PenaltyWindow window = new([0, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
        Assert.Equal(expected, sampler.Sample([3, 2, 1], window, 0));
    }

    [Fact]
    public void Sample_WithBias_AddsItToTheLogit()
    {
        float[] logits = [1, 2, 3];
        Assert.Equal(0, new Sampler(SamplingOptions.Greedy with { LogitBias = new Dictionary<int, float> { [0] = 2.5f } }, 3).Sample(logits, s_nothing, 0));
        Assert.Equal(1, new Sampler(SamplingOptions.Greedy with { LogitBias = new Dictionary<int, float> { [2] = -100 } }, 3).Sample(logits, s_nothing, 0));
    }

    [Fact]
    public void Sample_AfterARestart_DrawsTheSameTokens()
    {
        SamplingOptions options = new() { TopP = 0.95f, Seed = 7 };
        float[] logits = Logits(new Random(1), 1000, Shape.Peaked);
        long[] indices = [.. Enumerable.Range(0, 200).Select(i => i + 3_000_000_000L)];
        Sampler sampler = new(options, logits.Length);
        int[] tokens = [.. indices.Select(i => sampler.Sample(logits, s_nothing, i))];
        Sampler restarted = new(options, logits.Length), other = new(options with { Seed = 8 }, logits.Length);

        Assert.Equal(tokens.Reverse(), indices.Reverse().Select(i => restarted.Sample(logits, s_nothing, i)));
        Assert.True(tokens.Zip(indices.Select(i => other.Sample(logits, s_nothing, i))).Count(p => p.First == p.Second) < 100);
        Assert.True(tokens.Distinct().Count() > 20);
    }

    [Theory]
    [InlineData(float.NaN, 0f)]
    [InlineData(float.NaN, 1f)]
    [InlineData(float.PositiveInfinity, 1f)]
    [InlineData(float.NegativeInfinity, 1f)]
    public void Sample_OfLogitsThatAreNotFinite_IsATypedError(float value, float temperature)
    {
        Sampler sampler = new(new SamplingOptions { Temperature = temperature, TopP = 0.9f, RepetitionPenalty = 1.1f }, 100);
        foreach (int at in (int[])[0, 50, 99])
        {
            float[] logits = new float[100];
            logits[at] = value;
            LongCtxException error = Assert.Throws<LongCtxException>(() => sampler.Sample(logits, s_nothing, 12));
            Assert.Equal(ErrorCode.EngineFailure, error.Code);
            Assert.Contains("token 12", error.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(0f, 0, 1f)]
    [InlineData(0.8f, 40, 0.95f)]
    [InlineData(1f, 0, 1f)]
    public void Sample_AfterItsConstruction_AllocatesNothing(float temperature, int topK, float topP)
    {
        SamplingOptions options = new()
        {
            Temperature = temperature, TopK = topK, TopP = topP, MinP = 0.01f, RepetitionPenalty = 1.1f, FrequencyPenalty = 0.1f,
            LogitBias = new Dictionary<int, float> { [5] = 1 },
        };
        float[] logits = Logits(new Random(3), SmolLM2Vocabulary, Shape.Peaked), top = new float[20];
        int[] ids = new int[20];
        PenaltyWindow window = new(Enumerable.Range(0, 2000).ToArray());
        Sampler sampler = new(options, SmolLM2Vocabulary);
        // The runtime allocates a little, once, when it compiles what has become hot; a step that allocates does so in every round.
        Assert.Equal(0, Enumerable.Range(0, 4).Min(_ => Round()));

        long Round()
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int index = 1; index <= 50; index++) Step(index);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        void Step(int index)
        {
            int token = sampler.Sample(logits, window, index);
            window.Add(token);
            Logprobs.Compute(logits, token, ids, top);
        }
    }
}
