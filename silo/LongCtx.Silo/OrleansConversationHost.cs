using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Stored;
using LongCtx.Silo.Grains;
using LongCtx.Silo.Placement;

namespace LongCtx.Silo;

/// <summary>
/// The cluster as one host. What the journal can answer is asked of the store from here; what an owner must do goes to the conversation's grain, on whichever
/// silo it lives.
/// </summary>
internal sealed class OrleansConversationHost(GrainCalls calls, IGrainFactory grains, IConversationStore store, CapacityTable capacity, LocalCapacity local, TimeProvider time) : IConversationHost
{
    const int FollowedMax = 10_000;

    /// <summary>How long after an answer of its owner a conversation counts as active.</summary>
    static readonly TimeSpan s_followedFor = TimeSpan.FromSeconds(10);

    readonly ConcurrentDictionary<ConversationKey, long> _followed = new();
    readonly StoredConversations _stored = new(store, "gateway", name => Find(capacity, name), time);

    static ConversationModel Find(CapacityTable capacity, string? name)
    {
        IReadOnlyList<SiloModel> decoders = [.. capacity.Models.Where(m => m.VocabularySize > 0)];
        SiloModel? found = name is null ? decoders.FirstOrDefault() : decoders.FirstOrDefault(m => m.Tag == ConversationIds.ModelTag(name) && m.Description.Id == name);
        return found is null ? throw NoModel(capacity, name, "for generating text", "decoder") : new(found.Description.Id, found.VocabularySize);
    }

    static LongCtxException NoModel(CapacityTable capacity, string? name, string purpose, string kind)
    {
        string[] known = [.. capacity.Models.Select(m => m.Description).Where(m => m.Kind == kind).Select(m => m.Id)];
        if (known.Length == 0 && !capacity.All.Any(c => c.Models.Count > 0)) return GrainCalls.NoEngine();
        string list = known.Length == 0 ? $"there is none {purpose}" : $"{purpose} there are: {string.Join(", ", known)}";
        return capacity.Models.Any(m => m.Description.Id == name)
            ? new(ErrorCode.InvalidRequest, $"model {name} is no {kind}; {list}", "model")
            : new(ErrorCode.ModelNotFound, $"{(name is null ? "no model" : $"model {name}")} is loaded anywhere in the cluster; {list}", "model");
    }

    public ValueTask<IReadOnlyList<ModelDescription>> ListModelsAsync(CancellationToken cancellation = default) =>
        ValueTask.FromResult<IReadOnlyList<ModelDescription>>([.. capacity.Models.Select(m => m.Description)]);

    public async IAsyncEnumerable<CompletionEvent> CompleteAsync(string tenant, CompletionRequest request, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        string model = Find(capacity, request.Model).Name;
        string key = GrainKeys.Of(tenant, ConversationIds.ModelTag(model), Beginning(request));
        IComputeGrain grain = grains.GetGrain<IComputeGrain>(key);
        var id = Guid.CreateVersion7();
        await calls.RunAsync(tenant, () => grain.StartAsync(id, (request with { Model = model }).ToWire()), cancellation);
        try
        {
            for (int from = 0; ;)
            {
                CompletionPage page = await calls.AskOnceAsync<CompletionPage>(tenant, () => grain.ReadAsync(id, from, cancellation), cancellation);
                foreach (CompletionEvent e in page.Events) yield return e;
                if (page.IsOver) yield break;
                from += page.Events.Count;
            }
        }
        finally
        {
            _ = calls.TryRunAsync(tenant, () => grain.StopAsync(id));
        }
    }

    /// <summary>Hash of what every request of a chat begins with, up to the first message of its user: its replies find the silo that holds its keys.</summary>
    static string Beginning(CompletionRequest request)
    {
        const int TextMax = 256;
        string beginning = request.Messages is { } messages
            ? JsonSerializer.Serialize(messages.TakeWhile(m => m.Role != "user").Concat(messages.Where(m => m.Role == "user").Take(1)))
            : new([.. (request.Prompt ?? "").Take(TextMax)]);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(beginning)).AsSpan(0, 8));
    }

    public async ValueTask<EmbeddingResult> EmbedAsync(string tenant, EmbeddingRequest request, CancellationToken cancellation = default)
    {
        ModelDescription[] encoders = [.. capacity.Models.Select(m => m.Description).Where(m => m.Kind == "encoder")];
        ModelDescription model = encoders.FirstOrDefault(m => request.Model is null || m.Id == request.Model) ?? throw NoModel(capacity, request.Model, "for embeddings", "encoder");
        const int Places = 16; // a tenant's embeddings are spread over silos
        string key = GrainKeys.Of(tenant, ConversationIds.ModelTag(model.Id), $"embed-{Random.Shared.Next(Places)}");
        return await calls.AskAsync<EmbeddingResult>(tenant, () => grains.GetGrain<IComputeGrain>(key).EmbedAsync((request with { Model = model.Id }).ToWire(), cancellation), cancellation);
    }

    /// <summary>The numbers of this silo, so that those of all can be added up. Ready: it stays, and somebody computes.</summary>
    public async ValueTask<HostStatus> GetStatusAsync(CancellationToken cancellation = default)
    {
        SiloCapacity own = await local.GetAsync();
        bool isReady = !own.IsDraining && capacity.All.Any(c => !c.IsDraining && c.Models.Count > 0);
        return new(isReady, own.Running, own.Queued, own.BlocksTotal - own.BlocksFree, own.BlocksTotal) { Devices = [.. own.Devices.Select(d => new DeviceDescription(d.Kind, d.Name, d.Threads))] };
    }

    public async ValueTask<ConversationInfo> CreateConversationAsync(string tenant, CreateConversation request, CancellationToken cancellation = default)
    {
        request.Adapter?.Validate();
        ConversationInfo created = await _stored.CreateAsync(tenant, request, cancellation);
        if (request.Adapter is { } adapter) await ConfigureAdapterAsync(tenant, created.Id, adapter, cancellation);
        if (request.FirstInput is not { } first) return created;
        await AppendInputAsync(tenant, created.Id, first, cancellation);
        return await GetConversationAsync(tenant, created.Id, cancellation);
    }

    public ValueTask<ConversationInfo> GetConversationAsync(string tenant, string id, CancellationToken cancellation = default) => _stored.GetAsync(tenant, id, cancellation);

    public ValueTask<Page<ConversationInfo>> ListConversationsAsync(string tenant, string? after, int max, bool descending, CancellationToken cancellation = default) =>
        _stored.ListAsync(tenant, after, max, descending, cancellation);

    public ValueTask<ConversationInfo> SetMetadataAsync(string tenant, string id, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default) =>
        _stored.SetMetadataAsync(tenant, id, metadata, cancellation);

    public async ValueTask<TenantUsage> GetUsageAsync(string tenant, CancellationToken cancellation = default)
    {
        IReadOnlyList<ConversationKey> live = await _stored.ListLiveAsync(cancellation);
        return new(await _stored.CountAsync(tenant, cancellation), live.Count(key => key.Tenant == tenant));
    }

    public async ValueTask DeleteConversationAsync(string tenant, string id, CancellationToken cancellation = default)
    {
        await _stored.DeleteAsync(tenant, id, cancellation); // fences the owner, wherever it is
        _ = calls.TryRunAsync(tenant, () => Grain(tenant, id).AbandonAsync());
    }

    public async ValueTask<TurnTicket> SubmitTurnAsync(string tenant, string id, SubmitTurn request, CancellationToken cancellation = default)
    {
        IConversationGrain grain = Grain(tenant, id);
        Wire command = request.ToWire();
        return await AskInLineAsync<TurnTicket>(tenant, id, () => grain.SubmitTurnAsync(command), cancellation);
    }

    public async ValueTask<InputAck> AppendInputAsync(string tenant, string id, AppendInput request, CancellationToken cancellation = default)
    {
        IConversationGrain grain = Grain(tenant, id);
        Wire command = request.ToWire();
        string requestId = Guid.CreateVersion7().ToString();
        return await AskInLineAsync<InputAck>(tenant, id, () => grain.AppendInputAsync(command, requestId), cancellation);
    }

    public ValueTask<TurnInfo> CancelTurnAsync(string tenant, string id, int turn, CancellationToken cancellation = default)
    {
        IConversationGrain grain = Grain(tenant, id);
        return AskOwnerAsync<TurnInfo>(tenant, id, () => grain.CancelTurnAsync(turn), cancellation);
    }

    /// <summary>
    /// The store answers at once; only a reader that waits asks the owner, so looking at old conversations activates none. Once it waits, it is the owner that it
    /// follows, from memory, and the store has rest.
    /// </summary>
    public async ValueTask<EventPage> ReadEventsAsync(string tenant, string id, long after, int max, TimeSpan wait, CancellationToken cancellation = default)
    {
        var key = new ConversationKey(tenant, id);
        long start = time.GetTimestamp();
        bool follows = wait > TimeSpan.Zero && _followed.TryGetValue(key, out long asked) && time.GetElapsedTime(asked) < s_followedFor;
        EventPage page = follows ? new([], after) : await _stored.ReadEventsAsync(key, after, max, cancellation);
        IConversationGrain grain = Grain(tenant, id);
        while (page.Events.Count == 0 && page.Gap == 0 && !page.IsRewound && wait - time.GetElapsedTime(start) is { Ticks: > 0 } left)
        {
            page = await AskOwnerAsync<EventPage>(tenant, id, () => grain.ReadEventsAsync(after, max, left, cancellation), cancellation);
            if (_followed.Count > FollowedMax) _followed.Clear();
            _followed[key] = time.GetTimestamp();
        }

        return page;
    }

    public ValueTask<IReadOnlyList<TurnInfo>> ListTurnsAsync(string tenant, string id, int after, int max, bool descending, CancellationToken cancellation = default) =>
        _stored.ListTurnsAsync(tenant, id, after, max, descending, cancellation);

    public ValueTask<TurnInfo?> FindTurnAsync(string tenant, string id, string turnId, CancellationToken cancellation = default) =>
        _stored.FindTurnAsync(tenant, id, turnId, cancellation);

    public ValueTask<ConversationInfo> ForkAsync(string tenant, string id, long? seq, string? idempotencyKey = null, CancellationToken cancellation = default) =>
        _stored.ForkAsync(tenant, id, seq, idempotencyKey, cancellation);

    public ValueTask<AdapterInfo> GetAdapterAsync(string tenant, string id, CancellationToken cancellation = default) => _stored.GetAdapterAsync(tenant, id, cancellation);

    public ValueTask<AdapterInfo> ConfigureAdapterAsync(string tenant, string id, AdapterSettings settings, CancellationToken cancellation = default)
    {
        IConversationGrain grain = Grain(tenant, id);
        Wire command = settings.ToWire();
        string requestId = Guid.CreateVersion7().ToString();
        return AskInLineAsync<AdapterInfo>(tenant, id, () => grain.ConfigureAdapterAsync(command, requestId), cancellation);
    }

    public ValueTask<AdapterInfo> ResetAdapterAsync(string tenant, string id, bool disable, CancellationToken cancellation = default)
    {
        IConversationGrain grain = Grain(tenant, id);
        string requestId = Guid.CreateVersion7().ToString();
        return AskInLineAsync<AdapterInfo>(tenant, id, () => grain.ResetAdapterAsync(disable, requestId), cancellation);
    }

    public ValueTask<AdapterExport> ExportAdapterAsync(string tenant, string id, CancellationToken cancellation = default) => _stored.ExportAdapterAsync(tenant, id, cancellation);

    public IAsyncEnumerable<string> ExportAsync(string tenant, string id, CancellationToken cancellation = default) => _stored.ExportAsync(tenant, id, cancellation);

    public ValueTask<ConversationInfo> ImportAsync(string tenant, IAsyncEnumerable<string> lines, CancellationToken cancellation = default) =>
        _stored.ImportAsync(tenant, lines, cancellation);

    /// <summary>A request that stands in line behind a live turn is asked for again until it has an answer.</summary>
    async ValueTask<T> AskInLineAsync<T>(string tenant, string id, Func<ValueTask<Wire>> call, CancellationToken cancellation) where T : class
    {
        while (true)
            if (await AskOwnerAsync<T?>(tenant, id, call, cancellation) is { } answer) return answer;
    }

    /// <summary>Where no silo could own it, the store says first whether it is there at all.</summary>
    async ValueTask<T> AskOwnerAsync<T>(string tenant, string id, Func<ValueTask<Wire>> call, CancellationToken cancellation)
    {
        if (!capacity.All.Any(c => c.CanHost(ConversationIds.TagOf(id)))) await _stored.GetAsync(tenant, id, cancellation);
        return await calls.AskAsync<T>(tenant, call, cancellation);
    }

    IConversationGrain Grain(string tenant, string id) => ConversationIds.IsConversation(id)
        ? grains.GetGrain<IConversationGrain>(GrainKeys.Of(new ConversationKey(tenant, id)))
        : throw new LongCtxException(ErrorCode.NotFound, $"there is no conversation {id}");
}
