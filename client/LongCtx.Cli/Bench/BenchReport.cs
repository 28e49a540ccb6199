using System.Text.Json.Serialization;

namespace LongCtx.Cli.Bench;

/// <param name="LoadMs">Opening the model until it can compute.</param>
/// <param name="FirstTokenMs">Opening the model until the first generated token.</param>
/// <param name="Adapters">null when none were asked for.</param>
/// <param name="Training">null when it was not asked for.</param>
/// <param name="AllocatedBytesPerStep">Managed memory that a decode step allocates; null when nothing was decoded.</param>
internal sealed record BenchReport(
    int Threads,
    double LoadMs,
    double PeakMemoryMb,
    IReadOnlyList<PrefillFigure> Prefill,
    IReadOnlyList<DecodeFigure> Decode,
    IReadOnlyList<StreamFigure> Stream,
    IReadOnlyList<AdapterFigure>? Adapters,
    IReadOnlyList<TrainingFigure>? Training,
    double FirstTokenMs,
    double? AllocatedBytesPerStep);

internal sealed record PrefillFigure(int Tokens, double TokensPerSecond);

/// <param name="TokensPerSecond">Of all conversations together.</param>
internal sealed record DecodeFigure(int Conversations, int Context, double TokensPerSecond);

internal sealed record StreamFigure(int Position, double MsPerToken);

/// <summary>Conversations that decode together, with adapters and, in turn with that, without.</summary>
/// <param name="Adapters">Different ones among the conversations.</param>
/// <param name="Rank">Of each, over all projections.</param>
/// <param name="TokensPerSecond">Of all conversations together.</param>
/// <param name="PlainTokensPerSecond">The same without adapters.</param>
/// <param name="CostPercent">How many tokens per second the adapters cost.</param>
internal sealed record AdapterFigure(
    int Conversations, int Adapters, int Rank, int Context, double TokensPerSecond, [property: JsonPropertyName("p99_step_ms")] double P99StepMs, double PlainTokensPerSecond,
    [property: JsonPropertyName("plain_p99_step_ms")] double PlainP99StepMs, double CostPercent);

/// <summary>
/// Conversations that decode in an engine, with adapters that learn all the time and, in turn with that, with the same ones at rest. A step's time is that between two
/// tokens of a conversation.
/// </summary>
/// <param name="Adapters">Of as many conversations.</param>
/// <param name="Chunk">Tokens of an update, behind as many others.</param>
/// <param name="SliceMs">Most time that learning takes between two steps, but for its last unit.</param>
/// <param name="TokensPerSecond">Of all conversations together.</param>
/// <param name="TrainedTokensPerSecond">Tokens of the chunks that were learned meanwhile, all conversations together.</param>
/// <param name="Updates">That ended while the conversations decoded.</param>
/// <param name="Rejected">Of those.</param>
internal sealed record TrainingFigure(
    int Conversations, int Adapters, int Rank, int Context, int Chunk, double SliceMs, double TokensPerSecond, [property: JsonPropertyName("p50_step_ms")] double P50StepMs,
    [property: JsonPropertyName("p99_step_ms")] double P99StepMs, double MaxStepMs, double RestingTokensPerSecond, [property: JsonPropertyName("resting_p50_step_ms")] double RestingP50StepMs,
    [property: JsonPropertyName("resting_p99_step_ms")] double RestingP99StepMs, double RestingMaxStepMs, double TrainedTokensPerSecond, int Updates, int Rejected);

/// <summary>"16@512": conversations that decode together, each after a context of that many tokens.</summary>
internal readonly record struct DecodeLoad(int Conversations, int Context)
{
    public override string ToString() => FormattableString.Invariant($"{Conversations}@{Context}");
}
