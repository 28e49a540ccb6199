using System.Globalization;
using System.Net;
using System.Text;

namespace LongCtx.Server;

/// <summary>What a started server prints: where it is, what it serves, how it caches.</summary>
internal static class StartBlock
{
    public static async Task<string> WriteAsync(
        IEnumerable<string> urls, ServerOptions options, ICompletionHost host, string version, CancellationToken cancellation)
    {
        IReadOnlyList<ModelDescription> models = await host.ListModelsAsync(cancellation);
        int width = models.Select(m => m.Id.Length).DefaultIfEmpty(0).Max();
        StringBuilder text = new();
        text.AppendLine($"LongCtx {version}");
        foreach (string url in urls.Select(Reachable)) Line("page", $"{url}/  (API: {url}/v1)");
        foreach (ModelDescription model in models) Line(model.Parent is null ? "model" : "adapter", $"{model.Id.PadRight(width)}  {Describe(model)}");
        foreach (ModelDescription model in models.Where(m => m.Warning is not null)) Line("note", $"{model.Id}: {model.Warning}");
        Line("policy", options.Policy + (options.Capacity is { } capacity ? $", capacity {capacity}" : ""));
        Line("data", options.Data == ServerOptions.NoData ? "none: conversations are not kept" : $"{options.Data ?? ServerOptions.DefaultData}, {options.Durability.ToString().ToLowerInvariant()}");
        if (options.Keys.Count > 0) Line("keys", $"{options.Keys.Count} for {string.Join(", ", options.Keys.Select(k => k.Tenant).Distinct(StringComparer.Ordinal))}");
        if (options.AllowRemote) Line("note", "other machines may connect; without TLS in front, keys and text travel readable");
        Line("stop", "Ctrl+C");
        return text.ToString();

        void Line(string name, string value) => text.AppendLine($"  {name,-7} {value}");
    }

    static string Describe(ModelDescription model)
    {
        string size = model.Parameters >= 1_000_000_000
            ? (model.Parameters / 1e9).ToString("0.0 B", CultureInfo.InvariantCulture)
            : (model.Parameters / 1e6).ToString("0.0 M", CultureInfo.InvariantCulture);
        string rule = model.Policy.Length > 0 ? $", S,W,G,C,B = {model.Policy}" : "";
        return $"{model.Architecture} {model.Kind}, {size} parameters, {model.Quantization}{rule}";
    }

    /// <summary>An address that can be clicked: 'everywhere' is reached here as localhost.</summary>
    static string Reachable(string url) =>
        Uri.TryCreate(url, UriKind.Absolute, out Uri? uri) && IPAddress.TryParse(uri.Host.Trim('[', ']'), out IPAddress? ip)
        && (ip.Equals(IPAddress.Any) || ip.Equals(IPAddress.IPv6Any)) ? $"http://localhost:{uri.Port}" : url;
}
