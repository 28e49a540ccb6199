using System.Collections.Immutable;

namespace LongCtx.Conversations.Machine;

/// <summary>A conversation's temporary adapter after its journal: part of <see cref="ConversationState"/>.</summary>
public sealed record AdapterState(AdapterSettings Settings)
{
    /// <summary>Updates that are remembered for readers.</summary>
    public const int HistoryMax = 16;

    /// <summary>Versions whose stored states are kept: the one in use and the one before.</summary>
    public const int StoredMax = 2;

    public bool IsEnabled { get; init; } = true;

    /// <summary>Tokens before this index have been learned or passed over.</summary>
    public long TrainedTo { get; init; }

    /// <summary>Chunks learned so far, rejected ones included.</summary>
    public int Chunks { get; init; }

    /// <summary>The highest version number so far, also of a version that was reset since.</summary>
    public int Newest { get; init; }

    /// <summary>Versions in use since the last refill whose states are stored, oldest first; empty under the base model.</summary>
    public ImmutableArray<AdapterVersion> Versions { get; init; } = [];

    /// <summary>The newest updates, oldest first.</summary>
    public ImmutableArray<AdapterUpdate> History { get; init; } = [];

    /// <summary>In use for the newest tokens.</summary>
    public AdapterVersion Current => Versions.IsEmpty ? AdapterVersion.Base : Versions[^1];

    /// <summary>Of the log, the first token at which every version in use is still stored: tokens before it cannot be computed again as they were.</summary>
    public long ReplayFloor { get; init; }

    /// <summary>Sinks and window before this index were computed anew at it; 0 for never.</summary>
    public long RefilledAt { get; init; }

    /// <summary>The range to be learned next, when the log of so many tokens holds all of it; null before that.</summary>
    /// <param name="tokens">Length of the log.</param>
    /// <param name="capacity">Of the window; 0 for one without end.</param>
    public (long From, long To)? NextChunk(long tokens, int capacity)
    {
        if (!IsEnabled || tokens < (Settings.StartAfter ?? capacity)) return null;
        long end = TrainedTo + Settings.Chunk;
        return end <= tokens ? (TrainedTo, end) : null;
    }

    public AdapterInfo ToInfo()
    {
        double tokens = 0, gain = 0; // of log-likelihood, in nats
        foreach (AdapterUpdate update in History)
        {
            if (update.Loss.Count == 0) continue;
            tokens += update.To - update.From;
            gain += (update.To - update.From) * (update.BaseLoss - update.Loss[0]);
        }

        return new(Settings, IsEnabled, Current.Number, Current.Digest, Current.FirstToken, TrainedTo, History)
        {
            GainPercent = tokens > 0 ? 100 * (1 - Math.Exp(-gain / tokens)) : null,
        };
    }

    public AdapterState After(AdapterUpdated e)
    {
        var versions = e.IsRefill ? [] : Versions.RemoveAll(v => v.FirstToken >= e.FirstToken); // replaced before a token was computed under them
        if (e.Version > 0) versions = versions.Add(new(e.Version, e.Digest, e.FirstToken));
        long floor = e.IsRefill ? e.FirstToken : ReplayFloor;
        if (versions.Length > StoredMax)
        {
            versions = versions.RemoveRange(0, versions.Length - StoredMax);
            floor = Math.Max(floor, versions[0].FirstToken);
        }

        AdapterState next = e.Update is { } update ? Learned(update) : this;
        return next with
        {
            IsEnabled = IsEnabled && !e.IsDisabled,
            Newest = Math.Max(Newest, e.Version),
            Versions = versions,
            ReplayFloor = floor,
            RefilledAt = e.IsRefill ? e.FirstToken : RefilledAt,
            Chunks = e.Version == 0 ? 0 : next.Chunks,
            TrainedTo = e.Version == 0 ? Math.Max(TrainedTo, e.FirstToken) : next.TrainedTo,
        };
    }

    public AdapterState After(AdapterRejected e) => Learned(e.Update);

    AdapterState Learned(AdapterUpdate update) => this with
    {
        TrainedTo = update.To,
        Chunks = Chunks + 1,
        History = [.. History.Skip(Math.Max(0, History.Length + 1 - HistoryMax)), update],
    };
}

/// <param name="Number">1, 2, 3, ...; 0 is the base model.</param>
/// <param name="Digest">Of its weights.</param>
/// <param name="FirstToken">Keys of tokens from this index on are computed under it.</param>
public sealed record AdapterVersion(int Number, string Digest, long FirstToken)
{
    public static readonly AdapterVersion Base = new(0, "", 0);
}
