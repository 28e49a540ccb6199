namespace LongCtx.Engine.Models;

/// <summary>Upper bounds of configuration values: far above any published model, low enough that no product of two overflows.</summary>
internal static class ConfigLimits
{
    public const int LayerCountMax = 1024;
    public const int WidthMax = 1 << 18;
    public const int HeadCountMax = 1024;
    public const int HeadDimensionMax = 1024;
    public const int VocabularySizeMax = 1 << 22;
    public const int LengthMax = 1 << 28;
    public const double NormEpsilonMin = 1e-20;
    public const double NormEpsilonMax = 1;
    public const double ThetaMin = 1.5;
    public const double ThetaMax = 1e15;
    public const double FactorMin = 1e-3;
    public const double FactorMax = 1e6;

    public const double ThetaDefault = 10_000;
    public const double RmsNormEpsilonDefault = 1e-6;

    public static readonly string[] GgufArchitectures = ["llama", "qwen2", "qwen3", "bert"];
    public static readonly string[] HuggingFaceArchitectures = ["llama", "mistral", "qwen2", "qwen3", "bert"];
}
