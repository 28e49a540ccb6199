using LongCtx.Conversations.Local;
using LongCtx.Silo.Placement;
using Orleans.Placement;

namespace LongCtx.Silo.Grains;

[GrainType("compute"), EnginePlacement, Immovable(ImmovableKind.Any), CollectionAgeLimit("00:02:00")]
internal sealed class ComputeGrain(SiloEngine engine) : Grain, IComputeGrain
{
    /// <summary>A reader that stays away so long has gone.</summary>
    static readonly TimeSpan s_abandonedAfter = TimeSpan.FromSeconds(30);

    readonly Dictionary<Guid, RunningCompletion> _running = [];
    IGrainTimer? _sweep;

    ModelHost Models => engine.Models!;

    string Tenant => GrainKeys.Parse(this.GetPrimaryKeyString()).Tenant;

    public ValueTask StartAsync(Guid id, Wire request)
    {
        if (_running.ContainsKey(id)) return ValueTask.CompletedTask; // the call was repeated
        _running[id] = new(Models.CompleteAsync(Tenant, request.Read<CompletionRequest>()));
        _sweep ??= this.RegisterGrainTimer(static (grain, _) => grain.SweepAsync(), this, new() { DueTime = s_abandonedAfter / 3, Period = s_abandonedAfter / 3, Interleave = true, KeepAlive = true });
        return ValueTask.CompletedTask;
    }

    public ValueTask<Wire> ReadAsync(Guid id, int from, CancellationToken cancellation = default) => WireJson.AnswerAsync(async () =>
    {
        if (!_running.TryGetValue(id, out RunningCompletion? running))
            throw new LongCtxException(ErrorCode.ShuttingDown, "the silo that computed this reply has lost it: send the request again") { RetryAfter = TimeSpan.FromSeconds(1) };
        return await running.ReadAsync(from, IConversationGrain.WaitMax, cancellation);
    });

    public async ValueTask StopAsync(Guid id)
    {
        if (_running.Remove(id, out RunningCompletion? running)) await running.DisposeAsync();
    }

    public ValueTask<Wire> EmbedAsync(Wire request, CancellationToken cancellation = default) =>
        WireJson.AnswerAsync(() => Models.EmbedAsync(Tenant, request.Read<EmbeddingRequest>(), cancellation).AsTask());

    async Task SweepAsync()
    {
        long before = Environment.TickCount64 - (long)s_abandonedAfter.TotalMilliseconds;
        foreach (Guid id in _running.Where(r => r.Value.LastRead < before).Select(r => r.Key).ToArray()) await StopAsync(id);
        if (_running.Count > 0) return;
        _sweep?.Dispose();
        _sweep = null;
    }

    public override async Task OnDeactivateAsync(DeactivationReason reason, CancellationToken cancellation)
    {
        foreach (Guid id in _running.Keys.ToArray()) await StopAsync(id);
    }
}
