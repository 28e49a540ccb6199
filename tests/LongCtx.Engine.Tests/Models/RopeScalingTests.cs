using LongCtx.Engine.Models;

namespace LongCtx.Engine.Tests.Models;

/// <summary>
/// Expected numbers: the formula in the summary of each test, evaluated in Python (double precision) from transformers' definitions
/// (modeling_rope_utils.py), not by this code.
/// </summary>
public sealed class RopeScalingTests
{
    /// <summary>base^(-2i/d).</summary>
    [Fact]
    public void Unscaled_IsThePlainFormula() =>
        Check(RopeScaling.None, 10_000, 128, 2048, scale: 1, (0, 1.0), (1, 0.8659643233600653), (16, 0.1), (32, 0.01), (48, 0.001), (63, 0.00011547819846894582));

    /// <summary>base^(-2i/d) / 4.</summary>
    [Fact]
    public void Linear_DividesEveryFrequency() =>
        Check(new LinearRope(4), 10_000, 128, 8192, scale: 1, (0, 0.25), (1, 0.21649108084001634), (16, 0.025), (32, 0.0025), (48, 0.00025), (63, 2.8869549617236455e-05));

    /// <summary>(base · 4^(d/(d-2)))^(-2i/d): the last one equals linear scaling's.</summary>
    [Fact]
    public void Ntk_ChangesTheBase() =>
        Check(new NtkRope(4), 10_000, 128, 8192, scale: 1,
            (0, 1.0), (1, 0.8471171851512068), (16, 0.0703227547859181), (32, 0.004945289840680367), (48, 0.00034776640481145736), (63, 2.8869549617236452e-05));

    /// <summary>base · (2·8192/2048 - (2 - 1))^(d/(d-2)).</summary>
    [Fact]
    public void DynamicNtk_BeyondTheOriginalLength_GrowsWithTheLength() =>
        Check(new DynamicNtkRope(2, OriginalLength: 2048), 10_000, 128, 8192, scale: 1,
            (0, 1.0), (1, 0.8396257425643114), (16, 0.06100591233818991), (32, 0.003721721340214912), (48, 0.0002270470058283216), (63, 1.649688549556369e-05));

    [Fact]
    public void DynamicNtk_WithinTheOriginalLength_IsUnscaled()
    {
        double[] plain = RopeScaling.None.Frequencies(10_000, 128, 2048).InverseFrequencies;
        Assert.Equal(plain, new DynamicNtkRope(2, 2048).Frequencies(10_000, 128, 100).InverseFrequencies);
        Assert.Equal(plain, new DynamicNtkRope(2, 2048).Frequencies(10_000, 128, 2048).InverseFrequencies);
    }

    /// <summary>
    /// Qwen2.5's published setting. dim(r) = d·ln(L/(2πr)) / (2·ln base); ramp from floor(dim(32)) = 23 to ceil(dim(1)) = 40;
    /// θ/4·ramp + θ·(1 - ramp); scale 0.1·ln 4 + 1.
    /// </summary>
    [Fact]
    public void Yarn_Qwen25_BlendsOverTheRamp() =>
        Check(new YarnRope(4, OriginalLength: 32768), 1e6, 128, 131072, scale: 1.138629436111989,
            (0, 1.0), (1, 0.8058421877614819), (16, 0.03162277660168379), (24, 0.005375321490790102), (30, 0.0010643609812470017),
            (32, 0.0006029411764705882), (40, 4.445698525097307e-05), (48, 7.905694150420949e-06), (63, 3.102344401879299e-07));

    /// <summary>Without rounding the ramp runs from 10.472240810318025 to 22.513440636877274; scale 0.1·ln 40 + 1.</summary>
    [Fact]
    public void Yarn_NotTruncated_RampsBetweenFractionalDimensions() =>
        Check(new YarnRope(40, OriginalLength: 4096) { Truncate = false }, 10_000, 64, 163840, scale: 1.3688879454113936,
            (0, 1.0), (1, 0.7498942093324559), (10, 0.056234132519034905), (12, 0.02771085847508042), (15, 0.008446235311291834),
            (16, 0.005524062977468265), (20, 0.0007226383418941806), (22, 0.00011838773159168898), (24, 2.5e-05), (31, 3.33380358040831e-06));

    /// <summary>(0.1·0.707·ln 40 + 1) / (0.1·ln 40 + 1).</summary>
    [Fact]
    public void Yarn_ScaleOf_CombinesAsMscaleDoes() =>
        Assert.Equal(0.9210423553163399, YarnRope.ScaleOf(40, 0.707) / YarnRope.ScaleOf(40, 1.0), 1e-14);

    /// <summary>Llama 3.1: wavelength 2π/θ below 8192/4 keeps θ, above 8192/1 takes θ/8, between: s = (8192/wavelength - 1)/(4 - 1), (1-s)·θ/8 + s·θ.</summary>
    [Fact]
    public void Llama3_Llama31_KeepsShortAndDividesLongWavelengths() =>
        Check(new Llama3Rope(8, 1, 4, OriginalLength: 8192), 5e5, 128, 131072, scale: 1,
            (0, 1.0), (1, 0.8146172338565447), (16, 0.03760603093086393), (28, 0.003211445994752591), (29, 0.002166570763503359), (30, 0.0013718935677611381),
            (32, 0.0005248461609929547), (33, 0.00031269375038406517), (35, 9.556212353964683e-05), (36, 7.78465527393245e-05), (63, 3.068925988914511e-07));

    /// <summary>Llama 3.2 1B: factor 32, 64 dimensions.</summary>
    [Fact]
    public void Llama3_Llama32_MatchesItsFactor() =>
        Check(new Llama3Rope(32, 1, 4, OriginalLength: 8192), 5e5, 64, 131072, scale: 1,
            (0, 1.0), (1, 0.6636012376960885), (8, 0.03760603093086393), (16, 0.00042955679655936815), (24, 1.6619674677953088e-06), (31, 9.41830672543491e-08));

    /// <summary>base^(-2i/d) / factor_i with short_i = 1 + 0.05·i up to the original length and long_i = 1 + 0.5·i² beyond.</summary>
    [Fact]
    public void LongRope_ChoosesTheFactorsByLength()
    {
        double[] small = [.. Enumerable.Range(0, 16).Select(i => 1 + 0.05 * i)], large = [.. Enumerable.Range(0, 16).Select(i => 1 + 0.5 * i * i)];
        LongRope rope = new(small, large, OriginalLength: 4096, AttentionScale: LongRope.ScaleOf(131072.0 / 4096, 4096));

        // Phi-3-mini-128k: sqrt(1 + ln 32 / ln 4096).
        Check(rope, 10_000, 32, 4096, scale: 1.1902380714238083, (0, 1.0), (1, 0.5355631668479515), (8, 0.0071428571428571435), (15, 0.00010161596628793844));
        Check(rope, 10_000, 32, 4097, scale: 1.1902380714238083, (0, 1.0), (1, 0.37489421679356605), (8, 0.00030303030303030303), (15, 1.566766000034293e-06));
        Assert.Equal(1, LongRope.ScaleOf(1, 4096));
    }

    /// <summary>base^(-2i/d) / factor_i.</summary>
    [Fact]
    public void Factors_DivideTheirPair() => Check(new FactorRope([1, 2, 4, 8]), 16, 8, 100, scale: 1, (0, 1.0), (1, 0.25), (2, 0.0625), (3, 0.015625));

    static void Check(RopeScaling scaling, double theta, int dimension, int length, double scale, params (int Index, double Value)[] expected)
    {
        RopeFrequencies rope = scaling.Frequencies(theta, dimension, length);
        Assert.Equal(dimension / 2, rope.InverseFrequencies.Length);
        Assert.Equal(scale, rope.AttentionScale, 1e-12);
        foreach (var (index, value) in expected) Assert.Equal(1, rope.InverseFrequencies[index] / value, 1e-12);
    }
}
