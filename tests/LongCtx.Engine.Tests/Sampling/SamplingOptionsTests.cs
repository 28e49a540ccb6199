using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Tests.Sampling;

public sealed class SamplingOptionsTests
{
    public static TheoryData<string, SamplingOptions> OutOfRange => new()
    {
        { "temperature", new() { Temperature = -0.1f } },
        { "temperature", new() { Temperature = 2.1f } },
        { "temperature", new() { Temperature = float.NaN } },
        { "top_k", new() { TopK = -1 } },
        { "top_p", new() { TopP = 0 } },
        { "top_p", new() { TopP = 1.01f } },
        { "min_p", new() { MinP = -0.01f } },
        { "min_p", new() { MinP = 1.01f } },
        { "repetition_penalty", new() { RepetitionPenalty = 0 } },
        { "repetition_penalty", new() { RepetitionPenalty = float.PositiveInfinity } },
        { "presence_penalty", new() { PresencePenalty = 2.1f } },
        { "frequency_penalty", new() { FrequencyPenalty = -2.1f } },
        { "penalty_window", new() { PenaltyWindow = -1 } },
        { "penalty_window", new() { PenaltyWindow = 1025 } },
        { "logit_bias", new() { LogitBias = new Dictionary<int, float> { [-1] = 1 } } },
        { "logit_bias", new() { LogitBias = new Dictionary<int, float> { [1] = float.NaN } } },
        { "logit_bias", new() { LogitBias = new Dictionary<int, float> { [100] = 1 } } },
    };

    [Theory]
    [MemberData(nameof(OutOfRange))]
    public void Validate_OfAValueOutOfRange_NamesTheParameter(string parameter, SamplingOptions options)
    {
        LongCtxException error = Assert.Throws<LongCtxException>(() => new Sampler(options, vocabulary: 100));
        Assert.Equal(ErrorCode.InvalidRequest, error.Code);
        Assert.Equal(parameter, error.Parameter);
        Assert.Contains(parameter, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Validate_OfTheBounds_Accepts()
    {
        new SamplingOptions().Validate();
        SamplingOptions.Greedy.Validate();
        new SamplingOptions
        {
            Temperature = 2, TopK = int.MaxValue, TopP = float.Epsilon, MinP = 1, RepetitionPenalty = 10, PresencePenalty = -2, FrequencyPenalty = 2,
            PenaltyWindow = 0, LogitBias = new Dictionary<int, float> { [0] = -100, [int.MaxValue] = 100 }, Seed = ulong.MaxValue,
        }.Validate();
    }

    [Fact]
    public void Sample_WithEveryOptionAtItsExtreme_StillDrawsAToken()
    {
        SamplingOptions options = new() { Temperature = float.Epsilon, TopK = 1, TopP = float.Epsilon, MinP = 1, RepetitionPenalty = float.Epsilon };
        Assert.InRange(new Sampler(options, 100).Sample(Enumerable.Range(0, 100).Select(i => (float)i).ToArray(), new PenaltyWindow([3, 99]), 0), 0, 99);
    }
}
