using System.Text;

namespace LongCtx.Cli;

/// <summary>Text given by the user.</summary>
internal static class TextFile
{
    /// <summary>The whole file as UTF-8; invalid bytes become U+FFFD, a byte order mark stays, line ends stay.</summary>
    public static string Read(string path) => Try(path, "read", () => Encoding.UTF8.GetString(File.ReadAllBytes(path)));

    public static Stream Open(string path) => Try(path, "read", () => File.OpenRead(path));

    public static StreamWriter Create(string path) => Try(path, "write", () => new StreamWriter(path));

    static T Try<T>(string path, string verb, Func<T> access)
    {
        try
        {
            return access();
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            string reason = failure switch
            {
                _ when Directory.Exists(path) => "it is a directory, not a text file",
                FileNotFoundException or DirectoryNotFoundException => "there is no such file",
                UnauthorizedAccessException => $"you may not {verb} it",
                _ => failure.Message,
            };
            throw new LongCtxException(ErrorCode.InvalidRequest, $"cannot {verb} '{path}': {reason}", inner: failure);
        }
    }
}
