namespace LongCtx.Storage.Sqlite;

/// <summary>What decides whether a write gets in.</summary>
/// <param name="Number">What the tables call the conversation.</param>
/// <param name="Epoch">The owner's.</param>
/// <param name="Seq">The head.</param>
/// <param name="FirstSeq">The oldest event that is retained.</param>
/// <param name="LastBatch">What the head came with; null before the first append.</param>
/// <param name="IsLive">Whether it is in the list of live ones.</param>
internal sealed record WriteGuard(long Number, long Epoch, long Seq, long FirstSeq, string? LastBatch, bool IsLive);
