using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;
using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Stored;

/// <summary>Fork, export and import: a journal is copied event by event and its state is folded anew.</summary>
public sealed partial class StoredConversations
{
    const int CopiedEvents = 256;

    readonly SemaphoreSlim _keyedForks = new(1, 1);

    public async ValueTask<ConversationInfo> ForkAsync(string tenant, string id, long? seq, string? idempotencyKey, CancellationToken cancellation)
    {
        var source = new ConversationKey(tenant, id);
        StoredConversation stored = await FindAsync(source, cancellation).ConfigureAwait(false);
        long end = seq ?? stored.Seq;
        if (end < 0 || end > stored.Seq) throw new LongCtxException(ErrorCode.InvalidRequest, $"the conversation has {stored.Seq} events: it cannot be forked at {end}", "at");
        if (stored.FirstSeq > 1) throw new LongCtxException(ErrorCode.InvalidRequest, $"events before {stored.FirstSeq} are no longer retained, so the conversation cannot be forked", "at");
        var seed = stored.Seed with { Created = Now(), ForkedFrom = string.Create(CultureInfo.InvariantCulture, $"{id}@{end}") };
        if (idempotencyKey is null) return await ForkAsync(ConversationIds.New(seed.Model)).ConfigureAwait(false);

        await _keyedForks.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            string name = string.Create(CultureInfo.InvariantCulture, $"fork of {id} at {seq} for {idempotencyKey}");
            return await FindForkAsync(tenant, seed.Model, name, cancellation).ConfigureAwait(false) is (var target, var found) && found is not null
                ? found : await ForkAsync(target).ConfigureAwait(false);
        }
        finally
        {
            _keyedForks.Release();
        }

        ValueTask<ConversationInfo> ForkAsync(string target) => CopyAsync(source, new(tenant, target), seed, EventsAsync(source, end, cancellation), cancellation);
    }

    /// <summary>
    /// The fork of this name, or the id for it. A copy that failed has left a tombstone, one that a crash cut short is deleted: the next try has an id of its own.
    /// </summary>
    async ValueTask<(string Id, ConversationInfo? Found)> FindForkAsync(string tenant, string model, string name, CancellationToken cancellation)
    {
        for (int attempt = 0; ; attempt++)
        {
            string id = ConversationIds.FromKey(tenant, model, string.Create(CultureInfo.InvariantCulture, $"{name}, try {attempt}"));
            var key = new ConversationKey(tenant, id);
            StoredConversation? stored = await AskAsync(s => s.FindAsync(key, cancellation)).ConfigureAwait(false);
            if (stored is null) return (id, null);
            if (stored.Deleted is not null) continue;
            if (stored.Seq >= long.Parse(stored.Seed.ForkedFrom!.Split('@')[1], CultureInfo.InvariantCulture)) return (id, InfoOf(stored));
            await AskAsync(s => s.DeleteAsync(key, cancellation)).ConfigureAwait(false);
        }
    }

    public async IAsyncEnumerable<string> ExportAsync(string tenant, string id, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var key = new ConversationKey(tenant, id);
        StoredConversation stored = await FindAsync(key, cancellation).ConfigureAwait(false);
        if (stored.FirstSeq > 1) throw new LongCtxException(ErrorCode.InvalidRequest, $"events before {stored.FirstSeq} are no longer retained, so the conversation cannot be exported");
        var header = new ExportHeader(ExportHeader.CurrentFormat, stored.Seed.Model, stored.Seed.Created, stored.Seed.Metadata, id, stored.Seq);
        yield return JsonSerializer.Serialize(header, ExportJson.Default.ExportHeader);
        await foreach (StoredEvent e in EventsAsync(key, stored.Seq, cancellation).ConfigureAwait(false))
            yield return JsonSerializer.Serialize(new(e.Tokens.ToArray(), JsonDocument.Parse(e.Body).RootElement), ExportJson.Default.ExportLine);
    }

    public async ValueTask<ConversationInfo> ImportAsync(string tenant, IAsyncEnumerable<string> lines, CancellationToken cancellation)
    {
        IAsyncEnumerator<string> source = lines.GetAsyncEnumerator(cancellation);
        await using (source.ConfigureAwait(false))
        {
            ExportHeader header = await source.MoveNextAsync().ConfigureAwait(false) ? Line(source.Current, 1, ExportJson.Default.ExportHeader) : throw Refusals.Invalid("the import is empty", "body");
            if (header.Format != ExportHeader.CurrentFormat) throw Refusals.Invalid($"line 1: format '{header.Format}' is not '{ExportHeader.CurrentFormat}'", "body");
            string model = find(header.Model).Name;
            var seed = new ConversationSeed(model, Now(), header.Metadata, header.Id);
            return await CopyAsync(null, new(tenant, ConversationIds.New(model)), seed, Events(header), cancellation).ConfigureAwait(false);
        }

        async IAsyncEnumerable<StoredEvent> Events(ExportHeader header)
        {
            long seq = 0;
            while (await source.MoveNextAsync().ConfigureAwait(false))
            {
                if (source.Current.Length == 0) continue;
                ExportLine line = Line(source.Current, seq + 2, ExportJson.Default.ExportLine);
                yield return new(++seq, "", line.Tokens, line.Event.GetRawText());
            }

            if (seq != header.Events) throw Refusals.Invalid($"the import ends after {seq} of {header.Events} events", "body");
        }

        static T Line<T>(string text, long number, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
        {
            try
            {
                return JsonSerializer.Deserialize(text, type) ?? throw new JsonException("null");
            }
            catch (JsonException e)
            {
                throw Refusals.Invalid($"line {number} is not what an export holds: {e.Message}", "body");
            }
        }
    }

    async IAsyncEnumerable<StoredEvent> EventsAsync(ConversationKey key, long end, [EnumeratorCancellation] CancellationToken cancellation)
    {
        for (long after = 0; after < end;)
        {
            var page = await AskAsync(s => s.ReadAsync(key, after, (int)Math.Min(CopiedEvents, end - after), cancellation)).ConfigureAwait(false);
            if (page.Count == 0) throw Refusals.Unavailable(new($"event {after + 1} of {key.Id} is missing", false));
            foreach (StoredEvent e in page) yield return e;
            after = page[^1].Seq;
        }
    }

    /// <summary>Nothing is left of a copy that fails. Where the state of its adapter cannot be copied too, the copy goes on with the base model.</summary>
    async ValueTask<ConversationInfo> CopyAsync(ConversationKey? source, ConversationKey key, ConversationSeed seed, IAsyncEnumerable<StoredEvent> events, CancellationToken cancellation)
    {
        await AskAsync(s => s.CreateAsync(key, seed, cancellation)).ConfigureAwait(false);
        try
        {
            long epoch = (await AskAsync(s => s.AcquireAsync(key, process, cancellation)).ConfigureAwait(false))!.Epoch;
            var copy = new JournalCopy(key, epoch, find(seed.Model).VocabularySize);
            await foreach (StoredEvent e in events.WithCancellation(cancellation).ConfigureAwait(false))
            {
                copy.Add(e);
                if (copy.Count >= CopiedEvents) await AppendAsync(copy.Take()).ConfigureAwait(false);
            }

            copy.CancelLiveTurn(Now());
            if (copy.Adapter is { Versions.IsEmpty: false } adapter && (source is null || !await CopyAdapterAsync(source, key, epoch, adapter, cancellation).ConfigureAwait(false)))
                copy.ResetAdapter(Now());
            if (copy.Count > 0) await AppendAsync(copy.Take()).ConfigureAwait(false);
        }
        catch
        {
            await AskAsync(s => s.DeleteAsync(key, CancellationToken.None)).ConfigureAwait(false);
            throw;
        }

        return await GetAsync(key.Tenant, key.Id, cancellation).ConfigureAwait(false);

        async ValueTask AppendAsync(AppendBatch batch)
        {
            AppendResult result = await AskAsync(s => s.AppendAsync(key, batch, cancellation)).ConfigureAwait(false);
            if (result.Status != AppendStatus.Appended) throw new LongCtxException(ErrorCode.StoreUnavailable, $"the copy of {key.Id} was interrupted ({result.Status}): try again");
        }
    }
}
