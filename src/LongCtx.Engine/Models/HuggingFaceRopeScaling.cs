using static LongCtx.Engine.Models.ConfigLimits;

namespace LongCtx.Engine.Models;

/// <summary>rope_scaling (transformers 4) or rope_parameters (transformers 5) of config.json.</summary>
internal static class HuggingFaceRopeScaling
{
    public static RopeScaling Read(JsonFields config, JsonFields rope, int ropeDimension, int declaredLength)
    {
        string key = rope.Contains("rope_type") ? "rope_type" : "type";
        string type = rope.Text(key) ?? throw rope.Missing("rope_type");
        int original = rope.OptionalInt("original_max_position_embeddings", 1, LengthMax)
            ?? config.OptionalInt("original_max_position_embeddings", 1, LengthMax)
            ?? declaredLength;
        if (type is "ntk" or "dynamic" && ropeDimension < 4)
            throw rope.Fail(key, $"NTK scaling of {ropeDimension} rotated dimensions is undefined");
        return type switch
        {
            "default" => RopeScaling.None,
            "linear" => new LinearRope(Factor(rope)),
            "ntk" => new NtkRope(Factor(rope)),
            "dynamic" => new DynamicNtkRope(rope.Number("factor", 1, FactorMax), original),
            "yarn" => Yarn(rope, original, declaredLength),
            "llama3" => Llama3(rope, original),
            "longrope" or "su" => Long(rope, ropeDimension, original, declaredLength),
            _ => throw rope.Fail(key, $"RoPE scaling '{type}' is not supported; supported are default, linear, ntk, dynamic, yarn, llama3, longrope"),
        };
    }

    static double Factor(JsonFields rope) => rope.Number("factor", FactorMin, FactorMax);

    static YarnRope Yarn(JsonFields rope, int original, int declaredLength)
    {
        double factor = rope.OptionalNumber("factor", 1, FactorMax) ?? Math.Max(1, (double)declaredLength / original);
        YarnRope plain = new(factor, original);
        double? m = rope.OptionalNumber("mscale", 0, FactorMax), all = rope.OptionalNumber("mscale_all_dim", 0, FactorMax);
        double scale = m is > 0 && all is > 0 ? YarnRope.ScaleOf(factor, m.Value) / YarnRope.ScaleOf(factor, all.Value) : plain.AttentionScale;
        return plain with
        {
            BetaFast = rope.OptionalNumber("beta_fast", FactorMin, FactorMax) ?? plain.BetaFast,
            BetaSlow = rope.OptionalNumber("beta_slow", FactorMin, FactorMax) ?? plain.BetaSlow,
            Truncate = rope.Flag("truncate") ?? true,
            AttentionScale = rope.OptionalNumber("attention_factor", FactorMin, FactorMax) ?? scale,
        };
    }

    static Llama3Rope Llama3(JsonFields rope, int original)
    {
        double low = rope.Number("low_freq_factor", FactorMin, FactorMax), high = rope.Number("high_freq_factor", FactorMin, FactorMax);
        if (high <= low) throw rope.Fail("high_freq_factor", $"'high_freq_factor' {high} must exceed 'low_freq_factor' {low}");
        return new(Factor(rope), low, high, original);
    }

    static LongRope Long(JsonFields rope, int ropeDimension, int original, int declaredLength)
    {
        double factor = rope.OptionalNumber("factor", FactorMin, FactorMax) ?? (double)declaredLength / original;
        return new(
            Factors(rope, "short_factor", ropeDimension), Factors(rope, "long_factor", ropeDimension), original,
            rope.OptionalNumber("attention_factor", FactorMin, FactorMax) ?? LongRope.ScaleOf(factor, original));
    }

    static double[] Factors(JsonFields rope, string key, int ropeDimension)
    {
        double[] factors = rope.Numbers(key) ?? throw rope.Missing(key);
        if (factors.Length != ropeDimension / 2)
            throw rope.Fail(key, $"'{key}' has {factors.Length} factors; {ropeDimension / 2} are needed, one per rotated pair");
        return Array.TrueForAll(factors, f => f is >= FactorMin and <= FactorMax)
            ? factors
            : throw rope.Fail(key, $"'{key}' holds a factor outside {FactorMin} to {FactorMax}");
    }
}
