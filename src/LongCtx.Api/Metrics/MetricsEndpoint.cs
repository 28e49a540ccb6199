using System.Globalization;
using System.Text;

namespace LongCtx.Api.Metrics;

/// <summary>GET /metrics, in Prometheus' text format.</summary>
internal sealed class MetricsEndpoint(ICompletionHost host, Telemetry telemetry)
{
    public async Task HandleAsync(HttpContext http)
    {
        HostStatus status = await host.GetStatusAsync(http.RequestAborted);
        StringBuilder text = new();
        Write("longctx_ready", "gauge", "Whether the host takes work: 1 or 0", status.Ready ? 1 : 0);
        Write("longctx_running", "gauge", "Sequences in the running batch", status.Running);
        Write("longctx_queued", "gauge", "Requests that wait for a place", status.Queued);
        Write("longctx_kv_blocks_used", "gauge", "KV cache blocks that are held", status.KvBlocksUsed);
        Write("longctx_kv_blocks", "gauge", "KV cache blocks there are", status.KvBlocksTotal);
        Write("longctx_streams_open", "gauge", "Event streams that clients hold open", telemetry.OpenStreams);
        foreach ((string name, string description, long value) in telemetry.Totals) Write(name.Replace('.', '_') + "_total", "counter", description, value);
        http.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
        http.Response.Headers.CacheControl = "no-store";
        await http.Response.WriteAsync(text.ToString(), http.RequestAborted);

        void Write(string name, string type, string description, long value) =>
            text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {description}\n# TYPE {name} {type}\n{name} {value}\n");
    }
}
