namespace LongCtx.Engine.Tests.Files;

internal sealed class TemporaryDirectory : IDisposable
{
    /// <summary>In memory where the system offers that: fuzzing writes thousands of files and maps each, which takes ten times as long on some disks.</summary>
    readonly DirectoryInfo directory = Directory.Exists("/dev/shm")
        ? Directory.CreateDirectory($"/dev/shm/longctx-{Guid.NewGuid():n}")
        : Directory.CreateTempSubdirectory("longctx-");

    public string Path => directory.FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public string Write(string name, ReadOnlySpan<byte> content)
    {
        string path = File(name);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        using FileStream stream = new(path, FileMode.Create);
        stream.Write(content);
        return path;
    }

    public string Write(string name, string content) => Write(name, System.Text.Encoding.UTF8.GetBytes(content));

    public void Dispose() => directory.Delete(recursive: true);
}
