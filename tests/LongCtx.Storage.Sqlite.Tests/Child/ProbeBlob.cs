namespace LongCtx.Storage.Sqlite.Tests.Child;

/// <summary>A blob that is put again and again: its content tells which version it is, and whether it is whole.</summary>
static class ProbeBlob
{
    public const string Name = "state";

    /// <summary>Four or five pieces.</summary>
    public static byte[] Content(int version)
    {
        byte[] content = new byte[4 * BlobPieces.Size + 1000 * (version % 2000)];
        new Random(version).NextBytes(content);
        BitConverter.TryWriteBytes(content, version);
        return content;
    }

    /// <summary>0 when there is none. One that is not as it was put fails the test.</summary>
    public static async Task<int> VersionAsync(IConversationStore store, ConversationKey key)
    {
        await using var stream = await store.ReadBlobAsync(key, Name);
        if (stream is null) return 0;
        byte[] content = new byte[stream.Length];
        await stream.ReadExactlyAsync(content);
        int version = BitConverter.ToInt32(content);
        Assert.Equal(Content(version), content);
        return version;
    }
}
