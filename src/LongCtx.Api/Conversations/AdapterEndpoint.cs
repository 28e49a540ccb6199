using System.Globalization;
using System.IO.Compression;
using System.Text.Json;
using LongCtx.Api.Json;

namespace LongCtx.Api.Conversations;

/// <summary>/v1/conversations/{id}/adapter, with reset and export</summary>
internal sealed class AdapterEndpoint(IConversationHost host, RequestBody body)
{
    public const string Zip = "application/zip", VersionHeader = "x-longctx-adapter-version";

    /// <summary>The oldest that a zip file can name: the same version is always the same bytes.</summary>
    static readonly DateTimeOffset NoTime = new(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public async Task GetAsync(HttpContext http) =>
        await AnswerAsync(http, await host.GetAdapterAsync(Tenants.Of(http), ConversationId.Of(http), http.RequestAborted));

    /// <summary>No body at all is the default settings.</summary>
    public async Task ConfigureAsync(HttpContext http)
    {
        AdapterSettings settings;
        using (JsonDocument document = await body.ReadObjectOrNothingAsync(http)) settings = AdapterReader.Read(new(document.RootElement));
        await AnswerAsync(http, await host.ConfigureAdapterAsync(Tenants.Of(http), ConversationId.Of(http), settings, http.RequestAborted));
    }

    public async Task ResetAsync(HttpContext http)
    {
        using (JsonDocument document = await body.ReadObjectOrNothingAsync(http)) new JsonFields(document.RootElement).RefuseOthers();
        await AnswerAsync(http, await host.ResetAdapterAsync(Tenants.Of(http), ConversationId.Of(http), disable: false, http.RequestAborted));
    }

    public async Task DisableAsync(HttpContext http) =>
        await AnswerAsync(http, await host.ResetAdapterAsync(Tenants.Of(http), ConversationId.Of(http), disable: true, http.RequestAborted));

    /// <summary>A failure in the middle breaks the connection off: half an archive must not look whole.</summary>
    public async Task ExportAsync(HttpContext http)
    {
        string id = ConversationId.Of(http);
        AdapterExport export = await host.ExportAdapterAsync(Tenants.Of(http), id, http.RequestAborted);
        string version = export.Version.ToString(CultureInfo.InvariantCulture);
        http.Response.ContentType = Zip;
        http.Response.Headers.ContentDisposition = $"attachment; filename=\"{id}-adapter-{version}.zip\"";
        http.Response.Headers[VersionHeader] = version;
        // Not the body itself: ZipArchive ends an entry with a synchronous write, which only the writer takes.
        await using ZipArchive zip = await ZipArchive.CreateAsync(http.Response.BodyWriter.AsStream(leaveOpen: true), ZipArchiveMode.Create, leaveOpen: true, entryNameEncoding: null, http.RequestAborted);
        await AddAsync(zip, AdapterExport.ConfigName, export.Config, http.RequestAborted);
        await AddAsync(zip, AdapterExport.WeightsName, export.Weights, http.RequestAborted);
    }

    /// <summary>As it is: floats hardly shrink.</summary>
    static async Task AddAsync(ZipArchive zip, string name, ReadOnlyMemory<byte> content, CancellationToken cancellation)
    {
        ZipArchiveEntry entry = zip.CreateEntry(name, CompressionLevel.NoCompression);
        entry.LastWriteTime = NoTime;
        await using Stream file = await entry.OpenAsync(cancellation);
        await file.WriteAsync(content, cancellation);
    }

    static Task AnswerAsync(HttpContext http, AdapterInfo info) => http.Response.WriteAsJsonAsync(
        AdapterBody.From(ConversationId.Of(http), info), ApiJson.Instance.AdapterBody, cancellationToken: http.RequestAborted);
}
