using System.Net;
using LongCtx.Api;
using Microsoft.AspNetCore.Builder;

namespace LongCtx.Server;

/// <summary>
/// Without keys, a page from elsewhere could make a browser on this machine talk to the server under a name of its own (DNS rebinding).
/// Requests that do not name this machine are therefore refused while only it may connect.
/// </summary>
internal static class LoopbackGuard
{
    public static IApplicationBuilder UseLoopbackGuard(this IApplicationBuilder app) => app.Use(async (http, next) =>
    {
        string host = http.Request.Host.Host;
        if (host.Length == 0 || host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || IPAddress.TryParse(host.Trim('[', ']'), out _)) await next(http);
        else await LongCtxApi.RefuseAsync(http, 421, "wrong_host", $"This server answers only to this machine's own names, not to '{host}'. Start it with --allow-remote to change that.");
    });
}
