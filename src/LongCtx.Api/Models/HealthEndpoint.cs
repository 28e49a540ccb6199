using LongCtx.Api.Json;
using Microsoft.Extensions.DependencyInjection;

namespace LongCtx.Api.Models;

/// <summary>GET /health and /health/ready: 200 or 503 says whether the host takes work. GET /health/live: answering at all means live.</summary>
internal sealed class HealthEndpoint(ICompletionHost host, IServiceProvider services)
{
    public static Task LiveAsync(HttpContext http)
    {
        http.Response.Headers.CacheControl = "no-store";
        http.Response.ContentType = "text/plain";
        return http.Response.WriteAsync("live\n", http.RequestAborted);
    }

    public async Task HandleAsync(HttpContext http)
    {
        HostStatus status = await host.GetStatusAsync(http.RequestAborted);
        http.Response.StatusCode = status.Ready ? 200 : 503;
        http.Response.Headers.CacheControl = "no-store";
        HealthReport report = new(
            status.Ready ? "ready" : "not_ready", true, status.Ready, status.Running, status.Queued, status.KvBlocksUsed, status.KvBlocksTotal,
            services.GetService<IConversationHost>() is not null, status.Devices);
        await http.Response.WriteAsJsonAsync(report, ApiJson.Instance.HealthReport, cancellationToken: http.RequestAborted);
    }
}

/// <param name="Conversations">Whether this server keeps any.</param>
/// <param name="Devices">What it computes with; a gateway has none.</param>
internal sealed record HealthReport(
    string Status, bool Live, bool Ready, int Running, int Queued, int KvBlocksUsed, int KvBlocksTotal, bool Conversations, IReadOnlyList<DeviceDescription> Devices);
