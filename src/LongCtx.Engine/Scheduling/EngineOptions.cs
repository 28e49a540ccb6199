namespace LongCtx.Engine.Scheduling;

/// <summary>Limits of an engine; validated when it starts.</summary>
public sealed record EngineOptions
{
    public const int ThreadsMax = 256;

    /// <summary>Compute threads, the engine's own included.</summary>
    public int Threads { get; init; } = Math.Min(Environment.ProcessorCount, ThreadsMax);

    /// <summary>Most memory for the KV blocks of one model; allocated only as far as it is used.</summary>
    public long KvMemoryBytes { get; init; } = Math.Max(256L << 20, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4);

    /// <summary>Sequences that generate at the same time.</summary>
    public int RunningMax { get; init; } = 64;

    /// <summary>Requests that may wait for a place; one more is refused.</summary>
    public int QueueMax { get; init; } = 256;

    /// <summary>Tokens of one step, all sequences together.</summary>
    public int StepTokensMax { get; init; } = 512;

    /// <summary>Prompt tokens of one sequence in one step: bounds how long others wait for their next token.</summary>
    public int PrefillChunk { get; init; } = 256;

    /// <summary>Generated tokens that may wait for a slow reader before its sequence pauses.</summary>
    public int UnreadTokensMax { get; init; } = 256;

    /// <summary>Most time that training takes between two steps: by so much the next token of everybody else may come later.</summary>
    public TimeSpan TrainingSlice { get; init; } = TimeSpan.FromMilliseconds(10);

    /// <summary>Most of the engine's time that training for one tenant takes, 0 (none is trained) to 1 (no bound).</summary>
    public double TrainingShare { get; init; } = 1;

    public TimeProvider Time { get; init; } = TimeProvider.System;

    internal void Validate()
    {
        Require(Threads, 1, ThreadsMax, "threads");
        Require(RunningMax, 1, 4096, "running");
        Require(QueueMax, 0, 1 << 20, "queue");
        Require(StepTokensMax, 16, 8192, "step tokens");
        Require(PrefillChunk, 1, StepTokensMax, "prefill chunk");
        Require(UnreadTokensMax, 1, 1 << 16, "unread tokens");
        if (TrainingSlice <= TimeSpan.Zero || TrainingSlice > TimeSpan.FromSeconds(1)) throw new LongCtxException(ErrorCode.InvalidRequest, $"a training slice of {TrainingSlice.TotalMilliseconds} ms is out of range: above 0, up to 1000", "training-slice");
        if (TrainingShare is not (>= 0 and <= 1)) throw new LongCtxException(ErrorCode.InvalidRequest, FormattableString.Invariant($"a training share of {TrainingShare} is out of range: 0 to 1"), "training-share");
        if (KvMemoryBytes < 1 << 20) throw new LongCtxException(ErrorCode.InvalidRequest, $"KV memory of {KvMemoryBytes} bytes is too small: give at least 1 MiB", "kv-memory");
    }

    static void Require(int value, int min, int max, string name)
    {
        if (value < min || value > max) throw new LongCtxException(ErrorCode.InvalidRequest, $"{name} = {value} is out of range: {min} to {max}", name);
    }
}

/// <summary>Load of an engine at one instant.</summary>
public readonly record struct EngineStatus(int Running, int Queued, int BlocksUsed, int BlocksTotal);
