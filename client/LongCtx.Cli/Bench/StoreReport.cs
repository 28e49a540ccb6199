namespace LongCtx.Cli.Bench;

/// <summary>What keeping conversations costs. What was left out is null, or empty.</summary>
/// <param name="Store">Appends alone.</param>
internal sealed record StoreReport(IReadOnlyList<AppendFigure> Store, DecodeCost? Decode, ColdStart? Cold, StoredConversations? Stored, EventStreams? Streams);
