using System.Globalization;
using System.Text.RegularExpressions;

namespace LongCtx.Api.Tests;

/// <summary>GET /metrics</summary>
public sealed partial class MetricsTests(LiveServer server)
{
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Metrics_AfterATurnAndACompletion_HaveCountedThem()
    {
        Dictionary<string, double> before = await ReadAsync();
        await server.RespondAsync("\"input\":\"The king\"", 300); // more than the window holds
        await server.JsonAsync("POST", "/v1/responses", LiveServer.Body("\"input\":\"The king\",\"store\":false", 5));
        using SseReader open = await server.OpenStreamAsync("GET", $"/v1/conversations/{await server.CreateAsync()}/events");
        Dictionary<string, double> after = await ReadAsync();

        Assert.True(Grown("longctx_tokens_generated_total") >= 305);
        Assert.True(Grown("longctx_turns_total") >= 1);
        Assert.True(Grown("longctx_completions_total") >= 1);
        Assert.True(Grown("longctx_tokens_input_total") > 0);
        Assert.True(Grown("longctx_tokens_evicted_total") > 0);
        Assert.True(Grown("longctx_commits_total") > 1);
        Assert.True(after["longctx_streams_open"] >= 1);
        Assert.Equal(1, after["longctx_ready"]);
        Assert.True(after["longctx_kv_blocks"] > 0 && after["longctx_kv_blocks_used"] <= after["longctx_kv_blocks"]);
        Assert.All(["longctx_running", "longctx_queued", "longctx_tokens_cached_total"], name => Assert.True(after[name] >= 0));

        double Grown(string name) => after[name] - before.GetValueOrDefault(name);
    }

    /// <summary>Reads Prometheus' text format strictly: each sample is announced by its HELP and TYPE, each name appears once.</summary>
    async Task<Dictionary<string, double>> ReadAsync()
    {
        using HttpResponseMessage response = await server.SendAsync("GET", "/metrics");
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", response.Content.Headers.ContentType?.ToString());
        string text = await response.Content.ReadAsStringAsync(Cancellation);
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
        Dictionary<string, double> samples = new(StringComparer.Ordinal);
        string[] lines = text.TrimEnd('\n').Split('\n');
        Assert.Equal(0, lines.Length % 3);
        foreach (string[] metric in lines.Chunk(3))
        {
            Match sample = Sample().Match(metric[2]);
            Assert.True(sample.Success, metric[2]);
            string name = sample.Groups[1].Value;
            Assert.StartsWith($"# HELP {name} ", metric[0], StringComparison.Ordinal);
            Assert.Equal($"# TYPE {name} {(name.EndsWith("_total", StringComparison.Ordinal) ? "counter" : "gauge")}", metric[1]);
            samples.Add(name, double.Parse(sample.Groups[2].Value, CultureInfo.InvariantCulture));
        }
        return samples;
    }

    [GeneratedRegex("^([a-z_]+) ([0-9]+)$")]
    private static partial Regex Sample();
}
