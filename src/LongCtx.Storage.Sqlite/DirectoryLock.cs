using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Sqlite;

/// <summary>Keeps every other process out of a data directory; the system lets go of it when this process ends, however it ends.</summary>
internal static class DirectoryLock
{
    const int SharingViolation = unchecked((int)0x80070020); // Windows
    const int WouldBlockLinux = 11, WouldBlockMac = 35; // flock

    /// <exception cref="StoreException">Another process has it, or it cannot be written to.</exception>
    public static FileStream Take(string directory)
    {
        try
        {
            if (OperatingSystem.IsWindows()) Directory.CreateDirectory(directory);
            else Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            return new(Path.Combine(directory, "longctx.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e) when (e.HResult is SharingViolation or WouldBlockLinux or WouldBlockMac)
        {
            throw new StoreException($"The data directory {directory} is in use by another process. Stop that one, or name another data directory.", isTransient: false, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StoreException(
                $"The data directory {directory} cannot be written to: {e.Message} Give this user the right to write there, or name another data directory.", isTransient: false, e);
        }
    }
}
