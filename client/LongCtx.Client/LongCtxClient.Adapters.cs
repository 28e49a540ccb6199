using System.Globalization;
using System.IO.Compression;
using LongCtx.Client.Wire;

namespace LongCtx.Client;

public sealed partial class LongCtxClient
{
    const string AdapterVersion = "x-longctx-adapter-version";

    /// <summary>The conversation's temporary adapter: how it learns, what it has learned and what that gained.</summary>
    public async Task<AdapterInfo> GetAdapterAsync(string conversation, CancellationToken cancellation = default) =>
        (await transport.GetAsync(PathOf(conversation, "/adapter"), ClientJson.Default.AdapterAnswer, cancellation).ConfigureAwait(false)).ToInfo();

    /// <summary>The conversation learns from its own text from here on. Waits for a turn that is being answered.</summary>
    /// <param name="conversation">Which.</param>
    /// <param name="settings">How; null is the defaults.</param>
    /// <param name="cancellation">Ends the attempts.</param>
    /// <exception cref="LongCtxException">
    /// A setting is out of its range, or <see cref="ErrorCode.Conflict"/>: what was learned has another rank, alpha or targets and must be reset first.
    /// </exception>
    public async Task<AdapterInfo> ConfigureAdapterAsync(string conversation, AdapterSettings? settings = null, CancellationToken cancellation = default) =>
        (await transport.PostAsync(PathOf(conversation, "/adapter"), settings ?? new(), ClientJson.Default.AdapterSettings, ClientJson.Default.AdapterAnswer, null, cancellation)
            .ConfigureAwait(false)).ToInfo();

    /// <summary>Back to the base model: what was learned is erased, and learning goes on with what comes. Waits for a turn that is being answered.</summary>
    /// <exception cref="LongCtxException"><see cref="ErrorCode.NotFound"/>: the conversation never had an adapter.</exception>
    public async Task<AdapterInfo> ResetAdapterAsync(string conversation, CancellationToken cancellation = default) =>
        (await transport.PostAsync(PathOf(conversation, "/adapter/reset"), new(), ClientJson.Default.NothingBody, ClientJson.Default.AdapterAnswer, null, cancellation)
            .ConfigureAwait(false)).ToInfo();

    /// <summary>As <see cref="ResetAdapterAsync"/>, and nothing more is learned.</summary>
    /// <exception cref="LongCtxException"><see cref="ErrorCode.NotFound"/>: the conversation never had an adapter.</exception>
    public async Task<AdapterInfo> DisableAdapterAsync(string conversation, CancellationToken cancellation = default) =>
        (await transport.DeleteAsync(PathOf(conversation, "/adapter"), ClientJson.Default.AdapterAnswer, cancellation).ConfigureAwait(false)).ToInfo();

    /// <summary>The version in use as the files of a PEFT directory.</summary>
    /// <exception cref="LongCtxException"><see cref="ErrorCode.NotFound"/>: nothing was learned yet.</exception>
    public async Task<AdapterExport> ExportAdapterAsync(string conversation, CancellationToken cancellation = default) =>
        await transport.GetAsync(PathOf(conversation, "/adapter/export"), ReadExportAsync, cancellation).ConfigureAwait(false);

    static async ValueTask<AdapterExport> ReadExportAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        byte[] bytes = await response.Content.ReadAsByteArrayAsync(cancellation).ConfigureAwait(false);
        try
        {
            using ZipArchive zip = new(new MemoryStream(bytes), ZipArchiveMode.Read);
            int version = int.Parse(response.Headers.GetValues(AdapterVersion).Single(), CultureInfo.InvariantCulture);
            return new(version, Read(AdapterExport.ConfigName), Read(AdapterExport.WeightsName));

            byte[] Read(string name)
            {
                ZipArchiveEntry entry = zip.GetEntry(name) ?? throw new InvalidDataException($"it has no {name}");
                using Stream file = entry.Open();
                byte[] content = new byte[entry.Length];
                file.ReadExactly(content);
                return content;
            }
        }
        catch (Exception e) when (e is InvalidDataException or InvalidOperationException or FormatException or EndOfStreamException)
        {
            throw new LongCtxException(ErrorCode.EngineFailure, $"the exported adapter cannot be read: {e.Message}. Is it a LongCtx server of this version?", inner: e);
        }
    }
}
