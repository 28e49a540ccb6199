using System.Text;

namespace LongCtx.Cli;

/// <summary>Text given by the user.</summary>
internal static class TextFile
{
    /// <summary>The whole file as UTF-8; invalid bytes become U+FFFD, a byte order mark stays, line ends stay.</summary>
    public static string Read(string path)
    {
        try
        {
            return Encoding.UTF8.GetString(File.ReadAllBytes(path));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            string reason = failure switch
            {
                _ when Directory.Exists(path) => "it is a directory, not a text file",
                FileNotFoundException or DirectoryNotFoundException => "there is no such file",
                UnauthorizedAccessException => "you may not read it",
                _ => failure.Message,
            };
            throw new LongCtxException(ErrorCode.InvalidRequest, $"cannot read '{path}': {reason}", inner: failure);
        }
    }
}
