namespace LongCtx.Engine.Models;

/// <param name="InverseFrequencies">θ_i in radians per position, i = 0 .. RopeDimension/2 - 1: pair i is rotated by position · θ_i.</param>
/// <param name="AttentionScale">Factor on cos and sin of queries and keys alike, so a logit grows by its square.</param>
public sealed record RopeFrequencies(double[] InverseFrequencies, double AttentionScale);

/// <summary>
/// How a model's rotary frequencies differ from θ_i = theta^(-2i/d). The formulas are those of Hugging Face transformers
/// (modeling_rope_utils.py), in double throughout.
/// </summary>
public abstract record RopeScaling
{
    public static readonly RopeScaling None = new UnscaledRope();

    /// <param name="theta">Base of the frequencies.</param>
    /// <param name="dimension">How many dimensions of a head are rotated: even.</param>
    /// <param name="maximumLength">The longest relative distance plus one that will occur; only dynamic NTK and LongRoPE depend on it.</param>
    public abstract RopeFrequencies Frequencies(double theta, int dimension, int maximumLength);

    protected static double[] Plain(double theta, int dimension)
    {
        double[] frequencies = new double[dimension / 2];
        for (int i = 0; i < frequencies.Length; i++) frequencies[i] = Math.Pow(theta, -2.0 * i / dimension);
        return frequencies;
    }

    protected static double[] Divide(double[] frequencies, ReadOnlySpan<double> factors)
    {
        for (int i = 0; i < frequencies.Length; i++) frequencies[i] /= factors[i];
        return frequencies;
    }
}

public sealed record UnscaledRope : RopeScaling
{
    public override RopeFrequencies Frequencies(double theta, int dimension, int maximumLength) => new(Plain(theta, dimension), 1);
}

/// <summary>Position interpolation (Chen et al. 2023): positions, hence frequencies, divided by the factor.</summary>
public sealed record LinearRope(double Factor) : RopeScaling
{
    public override RopeFrequencies Frequencies(double theta, int dimension, int maximumLength) =>
        new(Array.ConvertAll(Plain(theta, dimension), f => f / Factor), 1);
}

/// <summary>NTK-aware: theta · factor^(d/(d-2)), which leaves the highest frequency and divides the lowest by the factor.</summary>
public sealed record NtkRope(double Factor) : RopeScaling
{
    public override RopeFrequencies Frequencies(double theta, int dimension, int maximumLength) =>
        new(Plain(theta * Math.Pow(Factor, dimension / (dimension - 2.0)), dimension), 1);
}

/// <summary>NTK-aware with a factor that grows with the length n beyond the original L: factor·n/L - (factor - 1).</summary>
public sealed record DynamicNtkRope(double Factor, int OriginalLength) : RopeScaling
{
    public override RopeFrequencies Frequencies(double theta, int dimension, int maximumLength)
    {
        double length = Math.Max(maximumLength, OriginalLength);
        return new NtkRope(Factor * length / OriginalLength - (Factor - 1)).Frequencies(theta, dimension, maximumLength);
    }
}

/// <summary>
/// YaRN (Peng et al. 2023): dimensions that turn more than <see cref="BetaFast"/> times within the original length keep their frequency,
/// those that turn less than <see cref="BetaSlow"/> times are interpolated, a linear ramp over the index lies between.
/// </summary>
public sealed record YarnRope(double Factor, int OriginalLength) : RopeScaling
{
    public double BetaFast { get; init; } = 32;

    public double BetaSlow { get; init; } = 1;

    /// <summary>Rounds the ends of the ramp outwards to whole dimensions.</summary>
    public bool Truncate { get; init; } = true;

    public double AttentionScale { get; init; } = ScaleOf(Factor);

    /// <summary>0.1·m·ln(factor) + 1.</summary>
    public static double ScaleOf(double factor, double m = 1) => factor <= 1 ? 1 : 0.1 * m * Math.Log(factor) + 1;

    public override RopeFrequencies Frequencies(double theta, int dimension, int maximumLength)
    {
        double low = DimensionOf(BetaFast), high = DimensionOf(BetaSlow);
        if (Truncate) (low, high) = (Math.Floor(low), Math.Ceiling(high));
        (low, high) = (Math.Max(low, 0), Math.Min(high, dimension - 1));
        if (low == high) high += 0.001;

        double[] frequencies = Plain(theta, dimension);
        for (int i = 0; i < frequencies.Length; i++)
        {
            double interpolated = Math.Clamp((i - low) / (high - low), 0, 1);
            frequencies[i] = frequencies[i] / Factor * interpolated + frequencies[i] * (1 - interpolated);
        }

        return new(frequencies, AttentionScale);

        // The index whose pair turns this many times within the original length.
        double DimensionOf(double turns) => dimension * Math.Log(OriginalLength / (turns * 2 * Math.PI)) / (2 * Math.Log(theta));
    }
}

/// <summary>Llama 3.1: short wavelengths stay, long ones are divided by the factor, those between are blended.</summary>
public sealed record Llama3Rope(double Factor, double LowFrequencyFactor, double HighFrequencyFactor, int OriginalLength) : RopeScaling
{
    public override RopeFrequencies Frequencies(double theta, int dimension, int maximumLength)
    {
        double[] frequencies = Plain(theta, dimension);
        for (int i = 0; i < frequencies.Length; i++)
        {
            double turns = OriginalLength * frequencies[i] / (2 * Math.PI); // original length / wavelength
            if (turns > HighFrequencyFactor) continue;
            double kept = turns < LowFrequencyFactor ? 0 : (turns - LowFrequencyFactor) / (HighFrequencyFactor - LowFrequencyFactor);
            frequencies[i] = (1 - kept) * frequencies[i] / Factor + kept * frequencies[i];
        }

        return new(frequencies, 1);
    }
}

/// <summary>LongRoPE (Ding et al. 2024): one searched factor per pair, another set once the length exceeds the original one.</summary>
public sealed record LongRope(double[] ShortFactors, double[] LongFactors, int OriginalLength, double AttentionScale) : RopeScaling
{
    /// <summary>sqrt(1 + ln(factor) / ln(original length)).</summary>
    public static double ScaleOf(double factor, int originalLength) =>
        factor <= 1 ? 1 : Math.Sqrt(1 + Math.Log(factor) / Math.Log(originalLength));

    public override RopeFrequencies Frequencies(double theta, int dimension, int maximumLength) =>
        new(Divide(Plain(theta, dimension), maximumLength > OriginalLength ? LongFactors : ShortFactors), AttentionScale);
}

/// <summary>Divisors per pair, as GGUF's rope_freqs.weight states them (llama.cpp stores Llama 3.1's rule this way).</summary>
public sealed record FactorRope(double[] Factors) : RopeScaling
{
    public override RopeFrequencies Frequencies(double theta, int dimension, int maximumLength) =>
        new(Divide(Plain(theta, dimension), Factors), 1);
}
