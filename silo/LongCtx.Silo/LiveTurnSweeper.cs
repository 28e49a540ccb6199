using System.Security.Cryptography;
using System.Text;
using LongCtx.Conversations.Storage;
using LongCtx.Silo.Grains;
using LongCtx.Silo.Placement;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace LongCtx.Silo;

/// <summary>
/// A turn whose silo died goes on even when nobody asks for it: the store knows which turns are live, and every silo wakes its share of them. A conversation
/// that is active already does not notice.
/// </summary>
internal sealed partial class LiveTurnSweeper(
    IConversationStore store, IGrainFactory grains, GrainCalls calls, CapacityTable capacity, ILocalSiloDetails silo, SiloOptions options, TimeProvider time, ILogger<LiveTurnSweeper> log)
    : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stopping)
    {
        using var timer = new PeriodicTimer(options.SweepInterval, time);
        while (await timer.WaitForNextTickAsync(stopping))
        {
            try
            {
                await SweepAsync(stopping);
            }
            catch (StoreException e)
            {
                LogFailed(e.Message);
            }
        }
    }

    async Task SweepAsync(CancellationToken stopping)
    {
        SiloAddress[] silos = [.. capacity.All.Where(c => c.Models.Count > 0 && !c.IsDraining).Select(c => c.Silo).Order()];
        int mine = Array.IndexOf(silos, silo.SiloAddress);
        if (mine < 0) return;
        foreach (ConversationKey key in await store.ListLiveAsync(stopping))
            if (SHA256.HashData(Encoding.UTF8.GetBytes(key.Id))[0] % silos.Length == mine)
                await calls.TryRunAsync(key.Tenant, () => grains.GetGrain<IConversationGrain>(GrainKeys.Of(key)).WakeAsync());
    }

    [LoggerMessage(LogLevel.Warning, "live turns could not be listed: {Reason}")]
    partial void LogFailed(string reason);
}
