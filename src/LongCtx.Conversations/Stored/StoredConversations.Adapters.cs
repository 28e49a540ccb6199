using System.Buffers;
using LongCtx.Conversations.Local;
using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Training;

namespace LongCtx.Conversations.Stored;

/// <summary>Temporary adapters: what the journal says of them, and their stored states.</summary>
public sealed partial class StoredConversations
{
    public async ValueTask<AdapterInfo> GetAdapterAsync(string tenant, string id, CancellationToken cancellation)
    {
        StoredConversation stored = await FindAsync(new(tenant, id), cancellation).ConfigureAwait(false);
        return ConversationState.Parse(stored.State).Adapter?.ToInfo() ?? new(null, false, 0, "", 0, 0, []);
    }

    /// <summary>The version in use as the files of a PEFT directory.</summary>
    /// <exception cref="LongCtxException"><see cref="ErrorCode.NotFound"/>: nothing was learned yet.</exception>
    public async ValueTask<AdapterExport> ExportAdapterAsync(string tenant, string id, CancellationToken cancellation)
    {
        var key = new ConversationKey(tenant, id);
        StoredConversation stored = await FindAsync(key, cancellation).ConfigureAwait(false);
        int version = ConversationState.Parse(stored.State).Adapter?.Current.Number ?? 0;
        if (version == 0) throw new LongCtxException(ErrorCode.NotFound, $"conversation {id} has learned nothing yet: there is no adapter to export");
        byte[] state = await AskAsync(s => AdapterVersions.ReadAsync(s, key, version, cancellation)).ConfigureAwait(false)
            ?? throw new LongCtxException(ErrorCode.NotFound, $"the state of version {version} of the adapter of {id} is not there: it was replaced just now, or lost. Try again");
        try
        {
            (byte[] config, byte[] weights) = LoraStateFile.ToPeft(state);
            return new(version, config, weights);
        }
        catch (InvalidDataException e)
        {
            throw new LongCtxException(ErrorCode.EngineFailure, $"version {version} of the adapter of {id} cannot be exported: {e.Message}", null, e);
        }
    }

    /// <summary>Copies the states that a copy of the journal needs; false when some are not there.</summary>
    async ValueTask<bool> CopyAdapterAsync(ConversationKey from, ConversationKey to, long epoch, AdapterState adapter, CancellationToken cancellation)
    {
        foreach (AdapterVersion version in adapter.Versions)
        {
            if (await AskAsync(s => AdapterVersions.ReadAsync(s, from, version.Number, cancellation)).ConfigureAwait(false) is not { } bytes) return false;
            await AskAsync(s => s.PutBlobAsync(to, epoch, AdapterVersions.NameOf(version.Number), new ReadOnlySequence<byte>(bytes), cancellation)).ConfigureAwait(false);
        }

        return true;
    }
}
