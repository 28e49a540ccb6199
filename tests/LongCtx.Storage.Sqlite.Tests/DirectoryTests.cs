using LongCtx.Storage.Sqlite.Tests.Child;

namespace LongCtx.Storage.Sqlite.Tests;

/// <summary>Data directories that cannot be used, and disks that fill up.</summary>
public sealed class DirectoryTests : IDisposable
{
    readonly TemporaryDirectory directory = new();

    ValueTask<SqliteConversationStore> OpenAsync(string? path = null) =>
        SqliteConversationStore.OpenAsync(new() { Directory = path ?? directory.Path }, TestContext.Current.CancellationToken);

    [Fact]
    public async Task Open_NewDirectory_IsMadeForItsOwnerOnly()
    {
        string path = directory.File("a/b");
        await using (await OpenAsync(path)) { }
        Assert.True(File.Exists(Path.Combine(path, "longctx.db")));
        Assert.False(File.Exists(Path.Combine(path, "longctx.db-wal"))); // a store that was closed is one file
        if (!OperatingSystem.IsWindows()) Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(path));
    }

    [Fact]
    public async Task Open_SecondTimeInThisProcess_IsRefused()
    {
        await using (await OpenAsync()) await AssertInUseAsync();
        await using (await OpenAsync()) { }
    }

    [Fact]
    public async Task Open_OtherProcessHasIt_IsRefusedUntilThatIsKilled()
    {
        using var other = ChildProcess.Start("hold", directory.Path);
        Assert.Equal("opened", await other.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken));
        await AssertInUseAsync();
        other.Kill();
        await other.WaitForExitAsync(TestContext.Current.CancellationToken);
        await using (await OpenAsync())
        {
            var (exit, _, error) = await ChildProcess.RunAsync("open", directory.Path);
            Assert.Equal(1, exit);
            Assert.Contains(directory.Path, error, StringComparison.Ordinal);
        }
        Assert.Equal((0, "opened\n", ""), await ChildProcess.RunAsync("open", directory.Path));
    }

    async Task AssertInUseAsync()
    {
        var refusal = await Assert.ThrowsAsync<StoreException>(() => OpenAsync().AsTask());
        Assert.Contains($"{directory.Path} is in use by another process. Stop", refusal.Message, StringComparison.Ordinal);
        Assert.False(refusal.IsTransient);
    }

    [Fact]
    public async Task Open_DirectoryIsAFile_SaysSo()
    {
        string path = directory.File("file");
        await File.WriteAllTextAsync(path, "", TestContext.Current.CancellationToken);
        var refusal = await Assert.ThrowsAsync<StoreException>(() => OpenAsync(path).AsTask());
        Assert.Contains($"{path} cannot be written to", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Open_ReadOnlyFileSystem_SaysWhatToDo()
    {
        var (exit, _, error) = await ChildProcess.RunOnOwnDiskAsync(directory.Path, "ro", "open", directory.Path);
        Assert.Equal(1, exit);
        Assert.Contains($"{directory.Path} cannot be written to", error, StringComparison.Ordinal);
        Assert.Contains("another data directory", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Open_ReadOnlyDatabase_SaysWhatToDo()
    {
        await using (await OpenAsync()) { }
        var (exit, _, error) = await ChildProcess.RunWithReadOnlyAsync(directory.File("longctx.db"), "open", directory.Path);
        Assert.Equal(1, exit);
        Assert.Contains($"{directory.File("longctx.db")} cannot be opened for writing", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Open_NoRoomForANewDatabase_SaysTheDiskIsFull()
    {
        var (exit, _, error) = await ChildProcess.RunOnOwnDiskAsync(directory.Path, "size=16k", "open", directory.Path);
        Assert.Equal(1, exit);
        Assert.Contains("is full", error, StringComparison.Ordinal);
        Assert.Contains(directory.Path, error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Append_DiskIsFull_IsRefusedAndWorksAgainOnceThereIsRoom()
    {
        var (exit, output, error) = await ChildProcess.RunOnOwnDiskAsync(directory.Path, "size=4m", "fill", directory.Path);
        Assert.True(exit == 0, error);
        Assert.EndsWith("events\n", output, StringComparison.Ordinal);
    }

    public void Dispose() => directory.Dispose();
}
