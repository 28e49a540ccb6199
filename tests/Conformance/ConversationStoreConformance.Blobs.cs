using System.Security.Cryptography;

namespace LongCtx.Conversations.Storage.Tests;

// Blobs: whole or not at all, whatever happens in the middle.
partial class ConversationStoreConformance
{
    const int Big = 5 * BlobPieces.Size + 12345;

    /// <summary>Random, and the same for the same length.</summary>
    static byte[] Bytes(int length)
    {
        byte[] bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        return bytes;
    }

    static async Task PutAsync(IConversationStore store, long epoch, string name, byte[] content, ConversationKey? key = null) =>
        Assert.Equal(AppendStatus.Appended, await store.PutBlobAsync(key ?? Key, epoch, name, new(content), Stop));

    static async Task<byte[]?> ReadBlobAsync(IConversationStore store, string name, ConversationKey? key = null)
    {
        await using var stream = await store.ReadBlobAsync(key ?? Key, name, Stop);
        return stream is null ? null : await ToEndAsync(stream);
    }

    static async Task<byte[]> ToEndAsync(Stream stream)
    {
        using MemoryStream all = new();
        await stream.CopyToAsync(all, Stop);
        return all.ToArray();
    }

    /// <summary>All of them, as lines.</summary>
    static async Task<string[]> BlobsAsync(IConversationStore store, ConversationKey key)
    {
        List<string> lines = [];
        foreach (var blob in await store.ListBlobsAsync(key, Stop))
            lines.Add($"{blob.Name} {blob.Length} {Convert.ToHexString(SHA256.HashData((await ReadBlobAsync(store, blob.Name, key))!))}");
        return [.. lines];
    }

    static async Task AssertNoBlobsAsync(IConversationStore store, ConversationKey key)
    {
        for (long epoch = 0; epoch < 3; epoch++)
        {
            Assert.Equal(AppendStatus.Gone, await store.PutBlobAsync(key, epoch, "state", new([1]), Stop));
            Assert.Equal(AppendStatus.Gone, await store.DeleteBlobAsync(key, epoch, "state", Stop));
        }
        Assert.Null(await store.ReadBlobAsync(key, "state", Stop));
        Assert.Empty(await store.ListBlobsAsync(key, Stop));
    }

    [Fact]
    public async Task PutBlob_AnyLength_IsThereAfterReopening()
    {
        int[] lengths = [0, 1, BlobPieces.Size - 1, BlobPieces.Size, BlobPieces.Size + 1, Big];
        await using (var store = await OpenAsync())
        {
            var head = await StartAsync(store);
            foreach (int length in lengths) await PutAsync(store, head.Epoch, $"{length}", Bytes(length));
        }
        await using var reopened = await OpenAsync();
        foreach (int length in lengths)
        {
            await using var stream = await reopened.ReadBlobAsync(Key, $"{length}", Stop);
            Assert.Equal(length, stream!.Length);
            Assert.Equal(Bytes(length), await ToEndAsync(stream));
        }
        Assert.Equal(lengths.Select(l => new StoredBlob($"{l}", l)).OrderBy(b => b.Name, StringComparer.Ordinal), await reopened.ListBlobsAsync(Key, Stop));
    }

    [Fact]
    public async Task PutBlob_Again_ReplacesItAndNothingElse()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        var other = await StartAsync(store, Id(2));
        await AppendAsync(store, Batch(head.Epoch, 0));
        string[] before = await ContentAsync(store);
        await PutAsync(store, other.Epoch, "state", Bytes(7), Id(2));
        await PutAsync(store, head.Epoch, "other", Bytes(8));
        foreach (int length in new[] { 3, Big, 0, 2 * BlobPieces.Size, 5 })
        {
            await PutAsync(store, head.Epoch, "state", Bytes(length));
            Assert.Equal(Bytes(length), await ReadBlobAsync(store, "state"));
            Assert.Equal([new("other", 8), new("state", length)], await store.ListBlobsAsync(Key, Stop));
        }
        Assert.Equal(Bytes(8), await ReadBlobAsync(store, "other"));
        Assert.Equal(Bytes(7), await ReadBlobAsync(store, "state", Id(2)));
        Assert.Equal(before, await ContentAsync(store));
    }

    [Fact]
    public async Task DeleteBlob_ThereOrNot_LeavesNone()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        await PutAsync(store, head.Epoch, "a", Bytes(Big));
        await PutAsync(store, head.Epoch, "b", Bytes(2));
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal(AppendStatus.Appended, await store.DeleteBlobAsync(Key, head.Epoch, "a", Stop));
            Assert.Null(await ReadBlobAsync(store, "a"));
            Assert.Equal([new("b", 2)], await store.ListBlobsAsync(Key, Stop));
        }
        await PutAsync(store, head.Epoch, "a", Bytes(3));
        Assert.Equal(Bytes(3), await ReadBlobAsync(store, "a"));
    }

    [Fact]
    public async Task Blob_OtherEpoch_IsFencedAndNothingChanges()
    {
        await using var store = await OpenAsync();
        var old = await StartAsync(store);
        await PutAsync(store, old.Epoch, "state", Bytes(Big));
        var current = Assert.IsType<StoredConversation>(await store.AcquireAsync(Key, "two", Stop));
        foreach (long epoch in new[] { old.Epoch, current.Epoch + 1, 0, -1 })
        {
            Assert.Equal(AppendStatus.Fenced, await store.PutBlobAsync(Key, epoch, "state", new(Bytes(3)), Stop));
            Assert.Equal(AppendStatus.Fenced, await store.DeleteBlobAsync(Key, epoch, "state", Stop));
        }
        Assert.Equal(Bytes(Big), await ReadBlobAsync(store, "state")); // moved with the conversation
        await PutAsync(store, current.Epoch, "state", Bytes(3));
        Assert.Equal(Bytes(3), await ReadBlobAsync(store, "state"));
    }

    [Fact]
    public async Task Blob_BadName_IsRefused()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        foreach (string name in new[] { "", "A", "a b", "a/b", "ä", "a\n", "a:b", "{a}", "*", new('a', 101) })
        {
            await Assert.ThrowsAsync<ArgumentException>(() => store.PutBlobAsync(Key, head.Epoch, name, new(Bytes(1)), Stop).AsTask());
            await Assert.ThrowsAsync<ArgumentException>(() => store.ReadBlobAsync(Key, name, Stop).AsTask());
            await Assert.ThrowsAsync<ArgumentException>(() => store.DeleteBlobAsync(Key, head.Epoch, name, Stop).AsTask());
        }
        Assert.Empty(await store.ListBlobsAsync(Key, Stop));
        string[] names = ["-", ".", "0", "_", "adapter-12.safetensors", new('z', 100)];
        foreach (string name in names) await PutAsync(store, head.Epoch, name, Bytes(name.Length));
        Assert.Equal(names.Order(StringComparer.Ordinal), (await store.ListBlobsAsync(Key, Stop)).Select(b => b.Name));
    }

    [Fact]
    public async Task Delete_Conversation_TakesItsBlobs()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        await PutAsync(store, head.Epoch, "state", Bytes(Big));
        await PutAsync(store, head.Epoch, "more", Bytes(1));
        Assert.True(await store.DeleteAsync(Key, Stop));
        await AssertNoBlobsAsync(store, Key);
        Assert.Equal(AppendStatus.Gone, await store.PutBlobAsync(Key, head.Epoch, "state", new(Bytes(1)), Stop));
    }

    [Fact]
    public async Task PutBlob_InTheMiddle_TheOldOneIsReadAndOthersWrite()
    {
        await using var store = await OpenAsync();
        var (head, other) = (await StartAsync(store), await StartAsync(store, Id(2)));
        await PutAsync(store, head.Epoch, "state", Bytes(3 * BlobPieces.Size));
        using HeldStoreContent held = new(Bytes(Big));
        var putting = Task.Run(() => store.PutBlobAsync(Key, head.Epoch, "state", held.Sequence, Stop).AsTask());
        await held.Reached;
        Assert.Equal(Bytes(3 * BlobPieces.Size), await ReadBlobAsync(store, "state"));
        Assert.Equal([new("state", 3 * BlobPieces.Size)], await store.ListBlobsAsync(Key, Stop));
        await AppendAsync(store, Batch(head.Epoch, 0));
        await AppendAsync(store, Batch(other.Epoch, 0), Id(2));
        // A second put of the same conversation does not take away what the first has written so far.
        await PutAsync(store, head.Epoch, "other", Bytes(1));
        held.Release();
        Assert.Equal(AppendStatus.Appended, await putting);
        Assert.Equal(Bytes(Big), await ReadBlobAsync(store, "state"));
    }

    [Fact]
    public async Task PutBlob_AcquiredInTheMiddle_IsFencedAndTheOldOneStays()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        await PutAsync(store, head.Epoch, "state", Bytes(3));
        using HeldStoreContent held = new(Bytes(Big));
        var putting = Task.Run(() => store.PutBlobAsync(Key, head.Epoch, "state", held.Sequence, Stop).AsTask());
        await held.Reached;
        var next = await store.AcquireAsync(Key, "next", Stop);
        held.Release();
        Assert.Equal(AppendStatus.Fenced, await putting);
        Assert.Equal(Bytes(3), await ReadBlobAsync(store, "state"));
        await PutAsync(store, next!.Epoch, "state", Bytes(Big));
        Assert.Equal(Bytes(Big), await ReadBlobAsync(store, "state"));
    }

    [Fact]
    public async Task PutBlob_DeletedInTheMiddle_IsGone()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        using HeldStoreContent held = new(Bytes(Big));
        var putting = Task.Run(() => store.PutBlobAsync(Key, head.Epoch, "state", held.Sequence, Stop).AsTask());
        await held.Reached;
        Assert.True(await store.DeleteAsync(Key, Stop));
        held.Release();
        Assert.Equal(AppendStatus.Gone, await putting);
        await AssertNoBlobsAsync(store, Key);
    }

    [Fact]
    public async Task ReadBlob_ReplacedInTheMiddle_IsTheOldOneOrSaysReadAgain()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        foreach (string change in new[] { "replaced", "deleted", "conversation deleted" })
        {
            byte[] old = Bytes(Big), start = new byte[10];
            await PutAsync(store, head.Epoch, "state", old);
            await using var stream = await store.ReadBlobAsync(Key, "state", Stop);
            await stream!.ReadExactlyAsync(start, Stop);
            if (change == "replaced") await PutAsync(store, head.Epoch, "state", Bytes(Big + 1));
            else if (change == "deleted") Assert.Equal(AppendStatus.Appended, await store.DeleteBlobAsync(Key, head.Epoch, "state", Stop));
            else Assert.True(await store.DeleteAsync(Key, Stop));
            try
            {
                byte[] all = [.. start, .. await ToEndAsync(stream)];
                Assert.Equal(old, all);
            }
            catch (StoreException e)
            {
                Assert.True(e.IsTransient);
                Assert.Contains("Read it again", e.Message, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public async Task Blob_PutAndReadManyTimesAtOnce_IsNeverAMixture()
    {
        await using var store = await OpenAsync();
        var head = await StartAsync(store);
        byte[] Version(byte number) => [.. Enumerable.Repeat(number, 2 * BlobPieces.Size + number)];
        await PutAsync(store, head.Epoch, "state", Version(0));
        var putting = Task.WhenAll(Enumerable.Range(0, 3).Select(writer => Task.Run(async () =>
        {
            for (int i = 1; i <= 6; i++)
            {
                byte[] version = Version((byte)(writer * 10 + i));
                // Where a reply was lost, another writer's may have come after this one: then the store cannot tell whether it got in.
                Assert.Equal(AppendStatus.Appended, await SendAsync(() => store.PutBlobAsync(Key, head.Epoch, "state", new(version), Stop)));
            }
        })));
        int whole = 0;
        do
        {
            try
            {
                byte[] read = (await ReadBlobAsync(store, "state"))!;
                Assert.Equal(Version(read[0]), read);
                whole++;
            }
            catch (StoreException e) when (e.IsTransient) { } // again
        }
        while (!putting.IsCompleted || whole == 0);
        await putting;
        Assert.Equal(6, (await ReadBlobAsync(store, "state"))![0] % 10);
    }
}
