using LongCtx.Engine.Files;
using static LongCtx.Engine.Models.ConfigLimits;

namespace LongCtx.Engine.Models;

/// <summary>RoPE scaling as GGUF states it: metadata under rope.scaling, or tensors with one divisor per pair.</summary>
internal static class GgufRopeScaling
{
    public static RopeScaling Read(GgufFile file, GgufFields fields, int ropeDimension, int declaredLength)
    {
        double? linear = fields.OptionalNumber("rope.scale_linear", FactorMin, FactorMax); // before rope.scaling existed
        string type = fields.Text("rope.scaling.type") ?? (linear is null or 1 ? "none" : "linear");
        double? factor = linear ?? (fields.Number("rope.scaling.factor") is 0 ? null : fields.OptionalNumber("rope.scaling.factor", FactorMin, FactorMax));
        int original = fields.OptionalInt("rope.scaling.original_context_length", 1, LengthMax) ?? declaredLength;

        RopeScaling scaling = type switch
        {
            "none" => RopeScaling.None,
            "linear" => new LinearRope(factor ?? throw fields.Missing("rope.scaling.factor")),
            "yarn" => Yarn(fields, factor ?? throw fields.Missing("rope.scaling.factor"), original),
            "longrope" => RopeScaling.None, // its factors are tensors, below
            _ => throw fields.Fail("rope.scaling.type", $"RoPE scaling '{type}' is not supported; supported are none, linear, yarn, longrope"),
        };

        double[]? all = Factors(file, TensorSlot.RopeFactors, ropeDimension);
        double[]? small = Factors(file, TensorSlot.RopeFactorsShort, ropeDimension), large = Factors(file, TensorSlot.RopeFactorsLong, ropeDimension);
        if (all is null && small is null && large is null)
            return type == "longrope" ? throw fields.Fail("rope.scaling.type", "LongRoPE needs the tensors rope_factors_short and rope_factors_long") : scaling;
        if (scaling != RopeScaling.None)
            throw fields.Fail("rope.scaling.type", $"RoPE scaling '{type}' together with tensors of RoPE factors is not supported");
        if (all is not null) return new FactorRope(all);
        if (small is null || large is null)
            throw new ModelFileException(file.Path, 0, "only one of the tensors rope_factors_short and rope_factors_long is there");
        double scale = fields.OptionalNumber("rope.scaling.attn_factor", FactorMin, FactorMax) ?? 1;
        return new LongRope(small, large, original, scale);
    }

    /// <summary>llama.cpp multiplies its attn_factor by YaRN's own factor.</summary>
    static YarnRope Yarn(GgufFields fields, double factor, int original)
    {
        YarnRope plain = new(factor, original);
        return plain with
        {
            BetaFast = fields.OptionalNumber("rope.scaling.yarn_beta_fast", FactorMin, FactorMax) ?? plain.BetaFast,
            BetaSlow = fields.OptionalNumber("rope.scaling.yarn_beta_slow", FactorMin, FactorMax) ?? plain.BetaSlow,
            AttentionScale = plain.AttentionScale * (fields.OptionalNumber("rope.scaling.attn_factor", FactorMin, FactorMax) ?? 1),
        };
    }

    static double[]? Factors(GgufFile file, TensorSlot slot, int ropeDimension)
    {
        string name = TensorNames.OfDecoder(ModelFormat.Gguf, slot)!;
        if (!file.TryFind(name, out TensorInfo? tensor)) return null;
        if (tensor.ElementCount != ropeDimension / 2)
            throw new ModelFileException(file.Path, tensor.Offset, $"tensor '{name}' must have {ropeDimension / 2} elements but has {tensor.ElementCount}");
        float[] values = new float[ropeDimension / 2];
        if (values.Length % tensor.Type.BlockSize() != 0)
            throw new ModelFileException(file.Path, tensor.Offset, $"tensor '{name}' must not be stored as {tensor.Type}");
        Dequantizer.ToFloat32(tensor.Type, file.Bytes(tensor), values);
        if (!Array.TrueForAll(values, v => v is >= (float)FactorMin and <= (float)FactorMax))
            throw new ModelFileException(file.Path, tensor.Offset, $"tensor '{name}' holds a value outside {FactorMin} to {FactorMax}");
        return Array.ConvertAll(values, v => (double)v);
    }
}
