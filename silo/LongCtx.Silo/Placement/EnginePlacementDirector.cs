using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using LongCtx.Silo.Grains;
using Orleans.Runtime.Placement;

namespace LongCtx.Silo.Placement;

/// <summary>
/// Rendezvous hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): a conversation returns to the silo that has its saved state, unless that one
/// is full or carries more than 1.25 times the mean. No calls and no store here: this runs on the path of every first call.
/// </summary>
internal sealed class EnginePlacementDirector(CapacityTable table) : IPlacementDirector
{
    /// <summary>How far above the mean a silo's load may be.</summary>
    const double LoadBound = 1.25;

    /// <summary>Generations that a silo runs together as easily as fewer: below it, going home matters more than balance.</summary>
    const int LoadFloor = 8;

    /// <summary>Blocks that a silo must have free to take one more conversation.</summary>
    const int BlocksNeeded = 1;

    public Task<SiloAddress> OnAddActivation(PlacementStrategy strategy, PlacementTarget target, IPlacementContext context)
    {
        string key = target.GrainIdentity.Key.ToString()!;
        string tag = GrainKeys.Parse(key).ModelTag;
        SiloAddress[] compatible = context.GetCompatibleSilos(target);
        SiloCapacity[] able = [.. compatible.Select(table.Find).OfType<SiloCapacity>().Where(c => c.CanHost(tag))];
        if (able.Length == 0) throw new NoEngineException(tag);
        if (IPlacementDirector.GetPlacementHint(target.RequestContextData, [.. able.Select(c => c.Silo)]) is { } hint) return Task.FromResult(hint);
        return Task.FromResult(Choose(key, able, c => table.IsFresh(c.Silo)).Silo);
    }

    /// <param name="able">Silos that may have it; at least one.</param>
    /// <param name="isFresh">Whether what is known of a silo is of these seconds.</param>
    public static SiloCapacity Choose(string key, IReadOnlyList<SiloCapacity> able, Func<SiloCapacity, bool> isFresh)
    {
        double bound = Math.Max(LoadFloor, Math.Ceiling(LoadBound * (able.Sum(c => c.Load) + 1) / able.Count));
        SiloCapacity[] order = [.. able.OrderByDescending(isFresh).ThenByDescending(c => Score(key, c.Home))];
        return order.FirstOrDefault(c => c.BlocksFree >= BlocksNeeded && c.Load <= bound)
            ?? order.MinBy(c => c.Queued)!; // all are full: the engine's queue is the back-pressure
    }

    /// <summary>By the disk: a silo that comes back has its files again, whatever its address and generation.</summary>
    static ulong Score(string key, string home) => BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes($"{home}|{key}")));
}

/// <summary>No silo of the cluster computes this model now.</summary>
[GenerateSerializer, Alias("longctx.no-engine")]
internal sealed class NoEngineException(string modelTag) : OrleansException($"no silo of the cluster has model {modelTag} loaded and takes conversations");
