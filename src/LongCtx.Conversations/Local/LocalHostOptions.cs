using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Conversations.Local;

/// <summary>Settings of a host; validated when it starts.</summary>
public sealed record LocalHostOptions
{
    public const int CachedSequencesLimit = 65536, ReplyTokensDefault = 4096;

    /// <summary>What conversations get; the sinks are fitted to the system turn of each.</summary>
    public PolicyOptions Policy { get; init; } = new();

    /// <summary>
    /// Sequences to remember for later requests, all tenants together. The pool may give up idle ones sooner; the recorded ids cost
    /// 4 bytes a token.
    /// </summary>
    public int CachedSequencesMax { get; init; } = 256;

    /// <summary>Tokens after which a reply ends that was asked for without a limit: small models may loop for ever.</summary>
    public int ReplyTokensMax { get; init; } = ReplyTokensDefault;

    internal void Validate()
    {
        if (ReplyTokensMax < 1) throw new LongCtxException(ErrorCode.InvalidRequest, $"max-reply: it must be at least 1 token, not {ReplyTokensMax}", "max-reply");
        if (CachedSequencesMax is < 1 or > CachedSequencesLimit)
            throw new LongCtxException(ErrorCode.InvalidRequest,
                $"cached sequences = {CachedSequencesMax} is out of range: 1 to {CachedSequencesLimit}", "cached_sequences");
    }

    /// <summary>As <see cref="EngineOptions.TrainingShare"/>.</summary>
    public double TrainingShare { get; init; } = new EngineOptions().TrainingShare;

    /// <summary>As <see cref="EngineOptions.TrainingSlice"/>.</summary>
    public TimeSpan TrainingSlice { get; init; } = new EngineOptions().TrainingSlice;
}
