using LongCtx.Conversations.Machine;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Conversations.Local;

/// <summary>The versions of a conversation's adapter that its cache is computed under, and where each of them begins.</summary>
internal sealed class AdapterWeights
{
    readonly LoraWeights? _base;
    readonly AdapterState? _state;
    readonly (AdapterVersion Version, LoraWeights Weights)[] _versions; // ascending

    AdapterWeights(LoraWeights? @base, AdapterState? state, (AdapterVersion, LoraWeights)[] versions) => (_base, _state, _versions) = (@base, state, versions);

    /// <param name="base">Of the model that the conversation was made with; null for a model by itself.</param>
    /// <param name="state">Of the journal.</param>
    /// <param name="versions">Has what is stored.</param>
    /// <param name="cancellation">Stops reading.</param>
    /// <exception cref="AdapterLostException">The state of one is gone.</exception>
    public static async ValueTask<AdapterWeights> LoadAsync(LoraWeights? @base, AdapterState? state, AdapterVersions versions, CancellationToken cancellation)
    {
        var loaded = new List<(AdapterVersion, LoraWeights)>();
        foreach (AdapterVersion version in state?.Versions ?? [])
        {
            if (await versions.FindWeightsAsync(version, cancellation).ConfigureAwait(false) is not { } found) throw new AdapterLostException(version.Number);
            loaded.Add((version, found));
        }

        return new(@base, state, [.. loaded]);
    }

    /// <summary>As <see cref="AdapterState.RefilledAt"/>; 0 without an adapter.</summary>
    public long RefilledAt => _state?.RefilledAt ?? 0;

    /// <summary>As <see cref="AdapterState.ReplayFloor"/>; 0 without an adapter.</summary>
    public long ReplayFloor => _state?.ReplayFloor ?? 0;

    /// <summary>Of a digest, empty being none; false when it is none of the conversation's.</summary>
    public bool TryFind(string digest, out LoraWeights? weights)
    {
        weights = digest == DigestOf(_base) ? _base : Array.Find(_versions, v => v.Version.Digest == digest).Weights;
        return weights is not null || digest == DigestOf(_base);
    }

    /// <summary>Digest of the version that a token's keys are computed under; null when its version is no longer known.</summary>
    public string? DigestAt(long token) => token < ReplayFloor ? null : Array.FindLast(_versions, v => v.Version.FirstToken <= token).Version?.Digest ?? DigestOf(_base);

    /// <summary>What a sequence that is to be fed from a token of the log on is computed under, now and later, in the sequence's own count.</summary>
    /// <param name="token">Index in the log.</param>
    /// <param name="skipped">Tokens of the log that the sequence left out.</param>
    public (LoraWeights? Now, AdapterSwitch[] Later) From(long token, long skipped)
    {
        token = Math.Max(token, ReplayFloor); // what is refilled before it is computed under the first version that is known
        return (Array.FindLast(_versions, v => v.Version.FirstToken <= token).Weights ?? _base,
            [.. _versions.Where(v => v.Version.FirstToken > token).Select(v => new AdapterSwitch(v.Version.FirstToken - skipped, v.Weights))]);
    }

    static string DigestOf(LoraWeights? weights) => weights?.Digest ?? "";
}

/// <summary>The state of an adapter version that is in use is gone.</summary>
internal sealed class AdapterLostException(int version) : Exception($"the state of version {version} of the adapter is lost: the conversation goes on with the base model")
{
}
