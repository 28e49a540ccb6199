using System.Collections.Concurrent;

namespace LongCtx.Silo.Grains;

/// <summary>The conversations that are active on this silo: what a drain has to move.</summary>
internal sealed class GrainRegistry
{
    readonly ConcurrentDictionary<ConversationGrain, (string Tenant, IConversationGrain Grain)> _grains = new();

    public IReadOnlyCollection<(string Tenant, IConversationGrain Grain)> Active => [.. _grains.Values];

    public void Add(ConversationGrain grain, string tenant) => _grains[grain] = (tenant, grain.AsReference<IConversationGrain>());

    public void Remove(ConversationGrain grain) => _grains.TryRemove(grain, out _);
}
