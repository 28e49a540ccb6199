namespace LongCtx;

/// <summary>
/// How a conversation adapts to its own text: a temporary LoRA, trained while it runs (With Greater Text Comes Greater Necessity, COLM 2024). The defaults are what
/// measured best on small models.
/// </summary>
public sealed record AdapterSettings
{
    /// <summary>r, 1..256.</summary>
    public int Rank { get; init; } = 16;

    /// <summary>The low-rank product is scaled by alpha / rank; above 0.</summary>
    public double Alpha { get; init; } = 16;

    /// <summary>Projections that are adapted: any of q, k, v, o, gate, up, down.</summary>
    public IReadOnlyList<string> Targets { get; init; } = AllTargets;

    /// <summary>Of AdamW; above 0, at most 1.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Optimiser steps on each chunk, 1..16.</summary>
    public int Epochs { get; init; } = 2;

    /// <summary>Tokens that are learned at once; 16..4096.</summary>
    public int Chunk { get; init; } = 256;

    /// <summary>Tokens before a chunk that are its context while it is learned; 0..4096. Without any the adapter overfits.</summary>
    public int Prefix { get; init; } = 256;

    /// <summary>recompute runs prefix and chunk from position 0, as the paper does; cached learns the chunk against the conversation's live cache.</summary>
    public string Mode { get; init; } = Recompute;

    /// <summary>Nothing is learned before the conversation has this many tokens; null is the capacity of its window.</summary>
    public long? StartAfter { get; init; }

    /// <summary>Whether the last tenth of a chunk is left out of the loss, and an update that makes it worse is rejected.</summary>
    public bool Guard { get; init; } = true;

    /// <summary>Chance that an input of the low-rank path is left out while it learns; 0 up to but not 1.</summary>
    public double Dropout { get; init; }

    /// <summary>Of AdamW, decoupled; 0..1.</summary>
    public double WeightDecay { get; init; }

    /// <summary>Largest global norm of a gradient; 0 does not clip.</summary>
    public double GradientClip { get; init; } = 1;

    /// <summary>Chunks until the learning rate is whole, 1..100.</summary>
    public int WarmUp { get; init; } = 2;

    /// <summary>
    /// Most versions that the oldest key in the window may be behind; one more, and sinks and window are computed anew under the newest. Null: keys grow old
    /// with the window, which bounds it too.
    /// </summary>
    public int? MaxStale { get; init; }

    public const int RankMax = 256, EpochsMax = 16, ChunkMin = 16, ChunkMax = 4096, PrefixMax = 4096, WarmUpMax = 100;

    public const string Recompute = "recompute", Cached = "cached";

    public static readonly IReadOnlyList<string> AllTargets = ["q", "k", "v", "o", "gate", "up", "down"];

    /// <summary>Whether weights learned under these settings fit weights learned under the others.</summary>
    public bool HasShapeOf(AdapterSettings other) => Rank == other.Rank && Alpha.Equals(other.Alpha) && Targets.ToHashSet(StringComparer.Ordinal).SetEquals(other.Targets);

    /// <summary>Whether both ask for the same.</summary>
    public bool IsSameAs(AdapterSettings other) => HasShapeOf(other) && this with { Targets = other.Targets } == other;

    /// <param name="path">Where the settings stand in what the caller wrote; errors name each setting behind it.</param>
    /// <exception cref="LongCtxException">A value is out of its range.</exception>
    public void Validate(string path = "adapter.")
    {
        Require(Rank is >= 1 and <= RankMax, "rank", $"1 to {RankMax}", Rank);
        Require(double.IsFinite(Alpha) && Alpha > 0, "alpha", "a number above 0", Alpha);
        Require(Targets.Count > 0 && Targets.All(AllTargets.Contains) && Targets.Distinct().Count() == Targets.Count, "targets", "any of " + string.Join(", ", AllTargets) + ", each once", string.Join(", ", Targets));
        Require(LearningRate is > 0 and <= 1, "learning_rate", "above 0 and at most 1", LearningRate);
        Require(Epochs is >= 1 and <= EpochsMax, "epochs", $"1 to {EpochsMax}", Epochs);
        Require(Chunk is >= ChunkMin and <= ChunkMax, "chunk", $"{ChunkMin} to {ChunkMax} tokens", Chunk);
        Require(Prefix is >= 0 and <= PrefixMax, "prefix", $"0 to {PrefixMax} tokens", Prefix);
        Require(Mode is Recompute or Cached, "mode", $"{Recompute} or {Cached}", Mode);
        Require(StartAfter is null or >= 0, "start_after", "0 or more tokens", StartAfter ?? 0);
        Require(Dropout is >= 0 and < 1, "dropout", "0 up to but not 1", Dropout);
        Require(WeightDecay is >= 0 and <= 1, "weight_decay", "0 to 1", WeightDecay);
        Require(GradientClip >= 0 && double.IsFinite(GradientClip), "gradient_clip", "0 (off) or more", GradientClip);
        Require(WarmUp is >= 1 and <= WarmUpMax, "warm_up", $"1 to {WarmUpMax} chunks", WarmUp);
        Require(MaxStale is null or >= 1, "max_stale", "at least 1 version", MaxStale ?? 1);

        void Require<T>(bool valid, string name, string range, T value)
        {
            if (!valid) throw new LongCtxException(ErrorCode.InvalidRequest, FormattableString.Invariant($"{path}{name} = {value} is out of range: {range}"), path + name);
        }
    }
}

/// <summary>A conversation's adapter as clients see it.</summary>
/// <param name="Settings">How it learns; null where no adapter was ever asked for.</param>
/// <param name="IsEnabled">Whether it learns.</param>
/// <param name="Version">Of the weights in use; 0 is the base model.</param>
/// <param name="Digest">Names those weights; empty for the base model.</param>
/// <param name="FirstToken">Keys of tokens from this index on are computed under it.</param>
/// <param name="TrainedTo">Tokens before this index have been learned or passed over.</param>
/// <param name="History">The newest updates, oldest first.</param>
public sealed record AdapterInfo(
    AdapterSettings? Settings, bool IsEnabled, int Version, string Digest, long FirstToken, long TrainedTo, IReadOnlyList<AdapterUpdate> History)
{
    /// <summary>100·(1 − lora / base) of the perplexities of the history's chunks, each before it was learned; positive is better. Null before the first.</summary>
    public double? GainPercent { get; init; }
}

/// <summary>What one chunk of training came to.</summary>
/// <param name="From">First token of the chunk, an index in the log.</param>
/// <param name="To">End of the chunk.</param>
/// <param name="Version">The version that it made; 0 for a rejected one.</param>
/// <param name="Loss">Mean negative log-likelihood of each token, in nats, before every step and after the last one.</param>
/// <param name="BaseLoss">The same under the base model.</param>
/// <param name="Seconds">Time spent on it.</param>
public sealed record AdapterUpdate(long From, long To, int Version, IReadOnlyList<double> Loss, double BaseLoss, double Seconds)
{
    /// <summary>Of the held-out end of the chunk, before and after; null without the guard.</summary>
    public double? HeldOutBefore { get; init; }

    public double? HeldOutAfter { get; init; }

    /// <summary>Why the update was rejected; null for one that was accepted.</summary>
    public string? Rejected { get; init; }
}

/// <summary>An adapter as a PEFT directory holds it.</summary>
/// <param name="Version">Of the conversation's adapter.</param>
/// <param name="Config">adapter_config.json</param>
/// <param name="Weights">adapter_model.safetensors</param>
public sealed record AdapterExport(int Version, ReadOnlyMemory<byte> Config, ReadOnlyMemory<byte> Weights)
{
    public const string ConfigName = "adapter_config.json", WeightsName = "adapter_model.safetensors";
}
