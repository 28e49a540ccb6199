namespace LongCtx.Cli.Bench;

/// <param name="LoadMs">Opening the model until it can compute.</param>
/// <param name="FirstTokenMs">Opening the model until the first generated token.</param>
/// <param name="AllocatedBytesPerStep">Managed memory that a decode step allocates; null when nothing was decoded.</param>
internal sealed record BenchReport(
    int Threads,
    double LoadMs,
    double PeakMemoryMb,
    IReadOnlyList<PrefillFigure> Prefill,
    IReadOnlyList<DecodeFigure> Decode,
    IReadOnlyList<StreamFigure> Stream,
    double FirstTokenMs,
    double? AllocatedBytesPerStep);

internal sealed record PrefillFigure(int Tokens, double TokensPerSecond);

/// <param name="TokensPerSecond">Of all conversations together.</param>
internal sealed record DecodeFigure(int Conversations, int Context, double TokensPerSecond);

internal sealed record StreamFigure(int Position, double MsPerToken);

/// <summary>"16@512": conversations that decode together, each after a context of that many tokens.</summary>
internal readonly record struct DecodeLoad(int Conversations, int Context)
{
    public override string ToString() => FormattableString.Invariant($"{Conversations}@{Context}");
}
