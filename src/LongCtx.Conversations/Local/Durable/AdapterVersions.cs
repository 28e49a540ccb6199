using System.Buffers;
using System.Collections.Concurrent;
using System.Globalization;
using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Training;

namespace LongCtx.Conversations.Local;

/// <summary>
/// The stored states of a conversation's adapter, one blob for each version: the newest with what its optimiser remembers, the one before for tokens that have
/// to be computed again.
/// </summary>
internal sealed class AdapterVersions(DecoderModel model, IConversationStore store, ConversationKey key, long epoch, Action<string> warn)
{
    readonly ConcurrentDictionary<int, LoraWeights> _weights = new();
    (int Number, LoraState State)? _newest; // only the newest goes on learning

    /// <summary>Null when its state is lost or damaged, which is warned of.</summary>
    public async ValueTask<LoraWeights?> FindWeightsAsync(AdapterVersion version, CancellationToken cancellation) =>
        _weights.TryGetValue(version.Number, out LoraWeights? held) ? held
            : await LoadAsync(version, cancellation).ConfigureAwait(false) is { } state ? _weights[version.Number] = state.Weights : null;

    /// <summary>The same with what the optimiser remembers.</summary>
    public async ValueTask<LoraState?> FindAsync(AdapterVersion version, CancellationToken cancellation)
    {
        if (_newest is { } newest && newest.Number == version.Number) return newest.State;
        if (await LoadAsync(version, cancellation).ConfigureAwait(false) is not { } state) return null;
        Hold(version.Number, state);
        return state;
    }

    async ValueTask<LoraState?> LoadAsync(AdapterVersion version, CancellationToken cancellation)
    {
        try
        {
            byte[] bytes = await ReadAsync(store, key, version.Number, cancellation).ConfigureAwait(false) ?? throw new InvalidDataException("the store has none");
            return LoraStateFile.Read(bytes, model.Config, model.Fingerprint, version.Digest);
        }
        catch (InvalidDataException e)
        {
            warn($"the state of version {version.Number} of the adapter of {key.Id} is lost: {e.Message}");
            return null;
        }
    }

    /// <summary>Before the version is used for anything.</summary>
    /// <returns>Anything but appended: the conversation has another owner now, or is deleted.</returns>
    /// <exception cref="StoreException">It is not stored.</exception>
    public async Task<AppendStatus> StoreAsync(int number, LoraState state, CancellationToken cancellation)
    {
        byte[] bytes = LoraStateFile.Write(state, model.Fingerprint, model.Name);
        AppendStatus status = await store.PutBlobAsync(key, epoch, NameOf(number), new ReadOnlySequence<byte>(bytes), cancellation).ConfigureAwait(false);
        if (status == AppendStatus.Appended) Hold(number, state);
        return status;
    }

    void Hold(int number, LoraState state)
    {
        _newest = (number, state);
        _weights[number] = state.Weights;
    }

    /// <summary>Erases what is no longer in use. A version that the journal does not know yet is just being stored, unless nothing is learned any more.</summary>
    public async Task EraseUnusedAsync(AdapterState state, CancellationToken cancellation)
    {
        foreach (int number in _weights.Keys.Where(IsUnused).ToArray()) _weights.TryRemove(number, out _);
        if (_newest is { } newest && IsUnused(newest.Number)) _newest = null;
        foreach (StoredBlob blob in await store.ListBlobsAsync(key, cancellation).ConfigureAwait(false))
            if (blob.Name.StartsWith(Prefix, StringComparison.Ordinal) && int.TryParse(blob.Name.AsSpan(Prefix.Length), CultureInfo.InvariantCulture, out int number) && IsUnused(number))
                await store.DeleteBlobAsync(key, epoch, blob.Name, cancellation).ConfigureAwait(false);

        bool IsUnused(int number) => (number <= state.Newest || !state.IsEnabled) && state.Versions.All(v => v.Number != number);
    }

    const string Prefix = "adapter-";

    public static string NameOf(int number) => FormattableString.Invariant($"{Prefix}{number}");

    /// <summary>The bytes of a version's state; null when there are none.</summary>
    public static async ValueTask<byte[]?> ReadAsync(IConversationStore store, ConversationKey key, int number, CancellationToken cancellation)
    {
        if (await store.ReadBlobAsync(key, NameOf(number), cancellation).ConfigureAwait(false) is not { } blob) return null;
        await using (blob.ConfigureAwait(false))
        {
            var bytes = new byte[blob.Length];
            await blob.ReadExactlyAsync(bytes, cancellation).ConfigureAwait(false);
            return bytes;
        }
    }
}
