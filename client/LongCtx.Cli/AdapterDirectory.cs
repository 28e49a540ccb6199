namespace LongCtx.Cli;

/// <summary>An adapter as other tools read it: a directory with its configuration and its weights.</summary>
internal static class AdapterDirectory
{
    /// <summary>Files of that name are replaced. The configuration comes last: without it the directory is none.</summary>
    public static async Task WriteAsync(string path, AdapterExport export, CancellationToken cancellation)
    {
        try
        {
            string config = Path.Combine(path, AdapterExport.ConfigName);
            Directory.CreateDirectory(path);
            File.Delete(config);
            await File.WriteAllBytesAsync(Path.Combine(path, AdapterExport.WeightsName), export.Weights, cancellation);
            await File.WriteAllBytesAsync(config, export.Config, cancellation);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new LongCtxException(ErrorCode.InvalidRequest, $"cannot write the adapter to '{path}': {failure.Message} Give --output a directory that you may write to.", inner: failure);
        }
    }
}
