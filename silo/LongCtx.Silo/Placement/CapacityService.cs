using LongCtx.Silo.Grains;
using Microsoft.Extensions.Logging;
using Orleans.Runtime.Services;
using Orleans.Services;

namespace LongCtx.Silo.Placement;

/// <summary>One on every silo: tells all others what this one can do, every second and when it changes in a way that matters.</summary>
[Alias("longctx.capacity-service.v1")]
internal interface ICapacityService : IGrainService
{
    [OneWay, Alias("publish")]
    Task PublishAsync(SiloCapacity capacity);
}

internal sealed class CapacityServiceClient(IServiceProvider services) : GrainServiceClient<ICapacityService>(services)
{
    public ICapacityService On(SiloAddress silo) => GetGrainService(silo);
}

/// <summary>This silo's own record, and whether it leaves.</summary>
internal sealed class LocalCapacity(SiloEngine engine, ILocalSiloDetails silo)
{
    volatile bool _isDraining;
    IReadOnlyList<SiloModel>? _models;

    public bool IsDraining
    {
        get => _isDraining;
        set => _isDraining = value;
    }

    public async ValueTask<SiloCapacity> GetAsync()
    {
        if (engine.Models is not { } models) return new(silo.SiloAddress, [], 0, 0, 0, 0, IsDraining, engine.Home, []);
        _models ??= [.. (await models.ListModelsAsync()).Select(m => new SiloModel(ConversationIds.ModelTag(m.Id), models.VocabularySizeOf(m.Id), m.ToWire()))];
        HostStatus status = await models.GetStatusAsync();
        return new(silo.SiloAddress, _models, status.KvBlocksTotal - status.KvBlocksUsed, status.KvBlocksTotal, status.Running, status.Queued, IsDraining, engine.Home, [.. status.Devices.Select(d => new SiloDevice(d.Kind, d.Name, d.Threads))]);
    }
}

/// <summary>Tells this silo's record to others, and keeps the table to those that are alive.</summary>
internal sealed class CapacityAnnouncer(LocalCapacity local, CapacityTable table, CapacityServiceClient clients, IClusterMembershipService membership)
{
    public async Task TellAllAsync()
    {
        SiloCapacity own = await local.GetAsync();
        SiloAddress[] alive = [.. membership.CurrentSnapshot.Members.Values.Where(m => m.Status is SiloStatus.Active or SiloStatus.Joining).Select(m => m.SiloAddress)];
        table.Set(own);
        table.Keep([.. alive, own.Silo]);
        foreach (SiloAddress other in alive.Where(s => !s.Equals(own.Silo))) _ = clients.On(other).PublishAsync(own);
    }

    public async Task TellAsync(SiloAddress silo) => _ = clients.On(silo).PublishAsync(await local.GetAsync());
}

internal sealed class CapacityService(GrainId id, Orleans.Runtime.Silo silo, ILoggerFactory logs, CapacityTable table, CapacityAnnouncer announcer)
    : GrainService(id, silo, logs), ICapacityService
{
    static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    IDisposable? _timer;

    public override async Task Start()
    {
        await announcer.TellAllAsync(); // placement works from the first call on
        _timer = RegisterTimer(_ => announcer.TellAllAsync(), null!, s_interval, s_interval);
        await base.Start();
    }

    public override Task Stop()
    {
        _timer?.Dispose();
        return base.Stop();
    }

    /// <summary>Who is heard of for the first time has just come, and hears of this silo at once: a new gateway can serve in its first second.</summary>
    public async Task PublishAsync(SiloCapacity capacity)
    {
        bool isNew = table.Find(capacity.Silo) is null;
        table.Set(capacity);
        if (isNew) await announcer.TellAsync(capacity.Silo);
    }
}
