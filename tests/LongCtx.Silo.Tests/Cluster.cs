using System.Collections.Concurrent;
using LongCtx.Conversations.Local;
using LongCtx.Conversations.Tests;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Tests;
using LongCtx.Server;
using LongCtx.Silo.Grains;
using LongCtx.Silo.Placement;
using LongCtx.Silo.Streams;
using LongCtx.Storage.Redis;
using LongCtx.Storage.Redis.Tests;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Streams;
using Orleans.TestingHost;

namespace LongCtx.Silo.Tests;

/// <summary>Silos inside this process, each with an engine of its own (pg19-7m, a window of 256 tokens), over a real redis-server.</summary>
public sealed class Cluster : IAsyncDisposable
{
    public const string Model = "small";

    readonly RedisServer _redis;
    readonly InProcessTestCluster _cluster;
    readonly ConcurrentDictionary<string, Node> _nodes;

    /// <summary>What a silo was made of; it outlives a killed one, which cannot close it.</summary>
    sealed record Node(SiloEngine Engine, RedisConversationStore Store);

    Cluster(RedisServer redis, InProcessTestCluster cluster, ConcurrentDictionary<string, Node> nodes, IReadOnlyCollection<int> stopTokens) =>
        (_redis, _cluster, _nodes, StopTokens) = (redis, cluster, nodes, stopTokens);

    public IReadOnlyCollection<int> StopTokens { get; }

    public RedisServer Redis => _redis;

    public IReadOnlyList<InProcessSiloHandle> Silos => [.. _cluster.Silos.Where(s => s.IsActive)];

    /// <param name="silos">How many compute.</param>
    /// <param name="gateways">How many have no engine.</param>
    public static async Task<Cluster> StartAsync(short silos, short gateways = 0, bool streamsInRedis = false, Func<ConversationOptions, ConversationOptions>? change = null)
    {
        RedisServer redis = await RedisServer.StartAsync("--appendfsync", "everysec");
        var nodes = new ConcurrentDictionary<string, Node>();
        int started = 0;
        IReadOnlyCollection<int> stopTokens = [];
        var settings = new SiloOptions(new ServerOptions())
        {
            Redis = redis.Configuration, SweepInterval = TimeSpan.FromSeconds(1), ProbeTime = TimeSpan.FromSeconds(1), StreamsInRedis = streamsInRedis,
        };
        var builder = new InProcessTestClusterBuilder((short)(silos + gateways));
        builder.ConfigureSilo((options, silo) =>
        {
            bool isGateway = Interlocked.Increment(ref started) <= gateways;
            Node node = OpenAsync(redis, isGateway, change, ids => stopTokens = ids).GetAwaiter().GetResult();
            nodes[options.SiloName] = node;
            silo.AddLongCtx(settings, node.Engine, node.Store);
        });
        builder.ConfigureClient(client =>
        {
            if (streamsInRedis) client.AddRedisStreams(StreamNames.Provider, streams => streams.ConfigureOptions((options, _) => SiloComposition.ConfigureStreams(options, settings)));
            else client.AddMemoryStreams(StreamNames.Provider);
        });
        InProcessTestCluster cluster = builder.Build();
        await cluster.DeployAsync();
        var whole = new Cluster(redis, cluster, nodes, stopTokens);
        await whole.KnowEachOtherAsync();
        return whole;
    }

    static async Task<Node> OpenAsync(RedisServer redis, bool isGateway, Func<ConversationOptions, ConversationOptions>? change, Action<IReadOnlyCollection<int>> stops)
    {
        RedisConversationStore store = await redis.OpenAsync().ConfigureAwait(false);
        if (isGateway) return new(SiloEngine.Gateway, store);
        var options = new ConversationOptions { Store = store };
        var engine = new SiloEngine(Guid.NewGuid().ToString(), OpenModelsAsync, change?.Invoke(options) ?? options);
        await engine.StartAsync(CancellationToken.None).ConfigureAwait(false);
        return new(engine, store);

        async Task<ModelHost> OpenModelsAsync()
        {
            var inference = new InferenceEngine(new EngineOptions { Threads = 1, KvMemoryBytes = 64L << 20 });
            DecoderModel model = await inference.LoadDecoderAsync(Repository.Pg19, Model).ConfigureAwait(false);
            stops(model.StopTokens);
            return new(inference, [model], [], new() { Policy = new PolicyOptions("endless", 256) });
        }
    }

    /// <summary>Every silo has every other one's record.</summary>
    public async Task KnowEachOtherAsync()
    {
        for (int i = 0; i < 600; i++)
        {
            SiloAddress[] all = [.. Silos.Select(s => s.SiloAddress)];
            if (Silos.All(s => Service<CapacityTable>(s).All.Select(c => c.Silo).ToHashSet().SetEquals(all))) return;
            await Task.Delay(50); // gossip has no event to wait for
        }

        Assert.Fail("the silos did not hear of each other within 30 s");
    }

    public T Service<T>(InProcessSiloHandle silo) where T : notnull => _cluster.GetSiloServiceProvider(silo.SiloAddress).GetRequiredService<T>();

    /// <summary>The cluster as this silo sees it.</summary>
    public IConversationHost HostOf(InProcessSiloHandle silo) => Service<IConversationHost>(silo);

    /// <summary>The silo on which a conversation is active; null for none.</summary>
    public InProcessSiloHandle? OwnerOf(string tenant, string id) => Silos.FirstOrDefault(s =>
        Service<GrainRegistry>(s).Active.Any(a => a.Grain.GetPrimaryKeyString() == GrainKeys.Of(tenant, ConversationIds.TagOf(id), id)));

    /// <summary>Waits until a conversation is not active on a silo; null for on any.</summary>
    public async Task LeftAsync(InProcessSiloHandle? silo, string tenant, string id)
    {
        for (int i = 0; i < 600; i++)
        {
            if (OwnerOf(tenant, id) is not { } owner || (silo is not null && owner != silo)) return;
            await Task.Delay(50); // an activation has no event to wait for
        }

        Assert.Fail($"{id} was still active after 30 s");
    }

    /// <summary>Takes a conversation over behind Orleans' back, as a second activation would.</summary>
    public Task<ConversationOwner> StealAsync(InProcessSiloHandle silo, string tenant, string id) =>
        Service<SiloEngine>(silo).Conversations!.ActivateAsync(new(tenant, id), CancellationToken.None);

    /// <summary>As a client of the cluster has them.</summary>
    public IStreamProvider Streams => _cluster.Client.GetStreamProvider(StreamNames.Provider);

    /// <summary>The silos that compute.</summary>
    public IReadOnlyList<InProcessSiloHandle> Engines => [.. Silos.Where(s => Service<SiloEngine>(s).Models is not null)];

    public InProcessSiloHandle Gateway => Silos.Single(s => Service<SiloEngine>(s).Models is null);

    /// <summary>Asks through one silo, for a tenant of its own.</summary>
    public HostDriver Driver(InProcessSiloHandle silo) => new(HostOf(silo), Guid.NewGuid().ToString(), StopTokens);

    public Task KillAsync(InProcessSiloHandle silo) => _cluster.KillSiloAsync(silo);

    public Task StopAsync(InProcessSiloHandle silo) => _cluster.StopSiloAsync(silo);

    public async Task<InProcessSiloHandle> AddAsync()
    {
        InProcessSiloHandle added = await _cluster.StartAdditionalSiloAsync();
        await KnowEachOtherAsync();
        return added;
    }

    public async ValueTask DisposeAsync()
    {
        await _cluster.StopAllSilosAsync();
        await _cluster.DisposeAsync();
        foreach (Node node in _nodes.Values)
        {
            await node.Engine.DisposeAsync();
            await node.Store.DisposeAsync();
        }

        await _redis.DisposeAsync();
    }
}
