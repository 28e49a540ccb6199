using System.Net;
using LongCtx.Conversations.Storage;
using LongCtx.Silo.Grains;
using LongCtx.Silo.Placement;
using LongCtx.Silo.Streams;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Orleans.Configuration;
using Orleans.Dashboard;
using StackExchange.Redis;

namespace LongCtx.Silo;

/// <summary>What makes an Orleans silo one of LongCtx: the same for a process and for a cluster inside a test.</summary>
internal static class SiloComposition
{
    /// <summary>Batches that a queue in Redis keeps: what a slow subscriber has to have read until then. It fetches the rest from the journal.</summary>
    const int StreamLengthMax = 100_000;

    const string SubscriptionStore = "PubSubStore"; // the name Orleans looks for

    /// <summary>Grains, placement, streams and the host over them; clustering is for the caller.</summary>
    public static ISiloBuilder AddLongCtx(this ISiloBuilder silo, SiloOptions options, SiloEngine engine, IConversationStore store)
    {
        silo.Services.AddSingleton(options).AddSingleton(engine).AddSingleton(store);
        silo.Services.TryAddSingleton(TimeProvider.System);
        silo.Services.AddSingleton<GrainRegistry>().AddSingleton<CapacityTable>().AddSingleton<LocalCapacity>().AddSingleton<CapacityServiceClient>().AddSingleton<CapacityAnnouncer>().AddSingleton<GrainCalls>();
        silo.Services.AddSingleton<OrleansConversationHost>().AddSingleton<IConversationHost>(s => s.GetRequiredService<OrleansConversationHost>())
            .AddSingleton<ICompletionHost>(s => s.GetRequiredService<OrleansConversationHost>());
        silo.Services.AddSingleton<DrainCoordinator>().AddSingleton<ILifecycleParticipant<ISiloLifecycle>>(s => s.GetRequiredService<DrainCoordinator>());
        silo.Services.AddHostedService<LiveTurnSweeper>();
        if (options.Server.Otlp is not null) silo.AddActivityPropagation();
        silo.AddGrainService<CapacityService>();
        silo.AddPlacementDirector<EnginePlacement, EnginePlacementDirector>();
        silo.AddIncomingGrainCallFilter<TenantFilter>();
        if (options.StreamsInRedis) silo.AddRedisStreams(StreamNames.Provider, streams => streams.ConfigureOptions((redis, _) => ConfigureStreams(redis, options)));
        else silo.AddMemoryStreams(StreamNames.Provider);
        if (Dashboard.IsWanted(options.Server.Keys)) silo.AddDashboard();
        if (options.Redis is null) silo.AddMemoryGrainStorage(SubscriptionStore);
        else silo.AddRedisGrainStorage(SubscriptionStore, redis => redis.ConfigurationOptions = ConfigurationOptions.Parse(options.Redis));
        silo.Configure<SiloMessagingOptions>(o => o.MaxEnqueuedRequestsHardLimit = 256); // a hot key fails fast
        silo.Configure<ClusterMembershipOptions>(o => o.ProbeTimeout = options.ProbeTime);
        return silo;
    }

    /// <summary>The same on silos and on clients of the cluster.</summary>
    public static void ConfigureStreams(RedisStreamingOptions redis, SiloOptions options)
    {
        redis.ConfigurationOptions = ConfigurationOptions.Parse(options.Redis!);
        redis.MaxStreamLength = StreamLengthMax;
    }

    /// <summary>Redis, or this machine alone.</summary>
    public static ISiloBuilder AddLongCtxClustering(this ISiloBuilder silo, SiloOptions options)
    {
        if (options.Redis is null) return silo.UseLocalhostClustering(options.SiloPort, options.GatewayPort, serviceId: options.Cluster, clusterId: options.Cluster);
        silo.UseRedisClustering(redis => redis.ConfigurationOptions = ConfigurationOptions.Parse(options.Redis));
        silo.Configure<ClusterOptions>(o => (o.ClusterId, o.ServiceId) = (options.Cluster, options.Cluster));
        return silo.ConfigureEndpoints(IPAddress.Parse(options.Host), options.SiloPort, options.GatewayPort);
    }
}
