using System.Globalization;
using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.States;

namespace LongCtx.Conversations.Local;

/// <summary>
/// Saved KV states, one file for each conversation: what makes a cold one start quickly. They are caches of the journal, so losing one
/// costs time and nothing else. The files used least recently go when all together pass the budget.
/// </summary>
internal sealed class KvFiles(InferenceEngine engine, string? directory, long bytesMax, TimeProvider time, Action<string> warn)
{
    const string Conversation = "conversation", Seq = "seq", Epoch = "epoch", Skipped = "skipped";

    readonly Lock _gate = new();
    long? _bytes; // of all files, at most; null before the first look

    /// <summary>False where nothing is kept on disk, or where the disk would not take it.</summary>
    public async Task<bool> SaveAsync(ConversationKey key, Sequence sequence, long skipped, ConversationState state)
    {
        if (directory is null) return false;
        string path = PathOf(key);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            SavedSequence saved = await engine.SaveAsync(sequence, path, new Dictionary<string, string>(StringComparer.Ordinal)
            {
                [Conversation] = key.Id,
                [Seq] = state.Seq.ToString(CultureInfo.InvariantCulture),
                [Skipped] = skipped.ToString(CultureInfo.InvariantCulture),
                [Epoch] = state.Epoch.ToString(CultureInfo.InvariantCulture),
            }).ConfigureAwait(false);
            Trim(saved.Bytes);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or LongCtxException or SequenceFileException)
        {
            warn($"the KV state of {key.Id} was not saved to {path}: {e.Message} It will be computed again when it is needed.");
            return false;
        }
    }

    /// <summary>A pinned sequence as it was saved and the event it was saved behind; null where there is none that fits the journal.</summary>
    public async Task<(Sequence Sequence, long Skipped, long Seq)?> TryLoadAsync(DecoderModel model, ConversationKey key, ConversationState state, IConversationStore store, AdapterWeights adapters, CancellationToken cancellation)
    {
        if (directory is null) return null;
        string path = PathOf(key);
        if (!File.Exists(path)) return null;
        try
        {
            (Sequence sequence, IReadOnlyDictionary<string, string> labels) =
                await engine.LoadSequenceAsync(model, path, PolicyOptions.ParseRule(state.Policy!), WeightsOf, cancellation).ConfigureAwait(false);
            long seq = Number(labels, Seq), skipped = Number(labels, Skipped);
            if (await ProblemAsync(sequence, skipped + sequence.Count, labels, seq).ConfigureAwait(false) is not { } problem)
            {
                File.SetLastAccessTimeUtc(path, time.GetUtcNow().UtcDateTime);
                return (sequence, skipped, seq);
            }

            sequence.Drop();
            warn($"the KV state {path} is not used: {problem}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or LongCtxException or SequenceFileException)
        {
            warn($"the KV state {path} is not used: {e.Message}");
        }

        return null;

        LoraWeights? WeightsOf(string digest) =>
            adapters.TryFind(digest, out LoraWeights? weights) ? weights : throw new SequenceFileException(path, "was computed under a version of the adapter that is no longer kept");

        // The journal may have lost its end since then (a failover), and may have grown another one.
        async ValueTask<string?> ProblemAsync(Sequence sequence, long tokens, IReadOnlyDictionary<string, string> labels, long seq)
        {
            if (labels.GetValueOrDefault(Conversation) != key.Id) return "it belongs to another conversation";
            long next = tokens - (sequence.HasPending ? 1 : 0); // the first token whose keys are not there
            if (next < adapters.RefilledAt || (adapters.DigestAt(next) != sequence.AdapterDigest && adapters.DigestAt(next - 1) != sequence.AdapterDigest)) return "the adapter was changed since";
            if (seq < 1 || seq > state.Seq || tokens > state.Tokens) return $"it was saved at event {seq}, and the journal ends at {state.Seq}";
            var page = await store.ReadAsync(key, seq - 1, 1, cancellation).ConfigureAwait(false);
            if (page.Count == 0 || page[0].Seq != seq) return $"the journal no longer holds event {seq}";
            ConversationEvent e = JournalRecords.ToEvent(page[0]);
            return e.TokenStart + e.TokenCount == tokens && labels.GetValueOrDefault(Epoch) == e.Epoch.ToString(CultureInfo.InvariantCulture)
                ? null : "the journal went another way since";
        }
    }

    static long Number(IReadOnlyDictionary<string, string> labels, string label) =>
        labels.TryGetValue(label, out string? text) && long.TryParse(text, CultureInfo.InvariantCulture, out long number) ? number : -1;

    public void Delete(ConversationKey key)
    {
        if (directory is null) return;
        try
        {
            if (File.Exists(PathOf(key))) File.Delete(PathOf(key));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            warn($"the KV state of {key.Id} could not be deleted: {e.Message}");
        }
    }

    /// <summary>Tenants are hashed: a name may hold anything.</summary>
    string PathOf(ConversationKey key) =>
        Path.Combine(directory!, ConversationIds.ModelTag(key.Tenant), key.Id[^2..], key.Id + ".kv");

    /// <summary>With thousands of files a look at all of them costs more than the save. A file that was replaced counts twice until then: the look may come too early, never too late.</summary>
    void Trim(long written)
    {
        lock (_gate)
        {
            _bytes += written;
            if (_bytes <= bytesMax) return;
            FileInfo[] files = [.. new DirectoryInfo(directory!).EnumerateFiles("*.kv", SearchOption.AllDirectories).OrderBy(f => f.LastAccessTimeUtc)];
            _bytes = files.Sum(f => f.Length);
            foreach (FileInfo file in files)
            {
                if (_bytes <= bytesMax) return;
                long length = file.Length;
                file.Delete();
                _bytes -= length;
            }
        }
    }
}
