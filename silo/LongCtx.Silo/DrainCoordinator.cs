using LongCtx.Silo.Grains;
using LongCtx.Silo.Placement;
using Microsoft.Extensions.Logging;

namespace LongCtx.Silo;

/// <summary>
/// Before a silo leaves, and before Orleans begins to deactivate anything: nothing new comes here, live turns stop at a stored token, and their conversations move.
/// </summary>
internal sealed partial class DrainCoordinator(
    LocalCapacity capacity, CapacityAnnouncer announcer, GrainRegistry registry, SiloOptions options, ILogger<DrainCoordinator> log) : ILifecycleParticipant<ISiloLifecycle>
{
    /// <summary>Conversations that move at the same time.</summary>
    const int MovesMax = 16;

    /// <summary>Stages stop in the reverse of their order, so this is before the gateway says goodbye.</summary>
    public void Participate(ISiloLifecycle lifecycle) =>
        lifecycle.Subscribe(nameof(DrainCoordinator), ServiceLifecycleStage.Active + 1, _ => Task.CompletedTask, DrainAsync);

    async Task DrainAsync(CancellationToken cancellation)
    {
        capacity.IsDraining = true;
        await announcer.TellAllAsync();

        using var budget = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        budget.CancelAfter(options.DrainTime);
        IReadOnlyCollection<(string Tenant, IConversationGrain Grain)> active = registry.Active;
        try
        {
            await Parallel.ForEachAsync(active, new ParallelOptions { MaxDegreeOfParallelism = MovesMax, CancellationToken = budget.Token }, async (entry, token) =>
            {
                TenantFilter.Become(entry.Tenant);
                await entry.Grain.DrainAsync().AsTask().WaitAsync(token);
            });
            LogDrained(active.Count);
        }
        catch (OperationCanceledException)
        {
            LogLate(registry.Active.Count, options.DrainTime);
        }
    }

    [LoggerMessage(LogLevel.Information, "{Count} conversations have left this silo")]
    partial void LogDrained(int count);

    [LoggerMessage(LogLevel.Warning, "{Count} conversations did not leave within {Time}: their next owner takes them over")]
    partial void LogLate(int count, TimeSpan time);
}
