using System.Buffers;
using System.Globalization;
using LongCtx.Conversations.Storage;
using StackExchange.Redis;

namespace LongCtx.Storage.Redis;

// The pieces of a put lie under a key of its own, an upload, which expires until a short script makes it the blob of its name. So whatever a
// process leaves behind when it dies goes by itself. Pieces travel over the bulk lane, one at a time: appends wait for one of them at most.
partial class RedisConversationStore
{
    /// <summary>Of an upload after its last piece, and of the mark that it is closed: far longer than a call may take.</summary>
    static readonly RedisValue UploadLife = Values.Number((long)ListingRepair.Patience.TotalMilliseconds);

    /// <summary>What a name stands for.</summary>
    readonly record struct Blob(string Upload, long Length)
    {
        public RedisValue Value => string.Create(CultureInfo.InvariantCulture, $"{Upload}:{Length}");

        public static Blob Parse(RedisValue value)
        {
            string[] parts = ((string)value!).Split(':');
            return new(parts[0], long.Parse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture));
        }
    }

    public async ValueTask<AppendStatus> PutBlobAsync(ConversationKey key, long epoch, string name, ReadOnlySequence<byte> content, CancellationToken cancellation = default)
    {
        StoredBlob.CheckName(name);
        Blob blob = new(NewId()!, content.Length);
        bool isStored = false;
        try
        {
            int pieces = 0;
            RedisKey[] touched = [.. keys.Head(key), .. keys.Upload(key, blob.Upload)];
            foreach (byte[] piece in BlobPieces.Split(content))
            {
                RedisValue[] values = [Values.Number(epoch), pieces++, piece, UploadLife];
                var status = Status((string)(await redis.BulkAsync($"store a piece of {name} of {key.Id}", Scripts.AddPiece, touched, values, cancellation).ConfigureAwait(false))!);
                if (status != AppendStatus.Appended) return status;
                // The older client completes replies one after another on one thread: copying the next piece must not keep the others waiting.
                await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
            }
            var outcome = await GiveNameAsync(key, epoch, name, blob, pieces, cancellation).ConfigureAwait(false);
            isStored = outcome == AppendStatus.Appended;
            return outcome;
        }
        finally
        {
            if (!isStored) await TryRemoveAsync($"discard a part of {name} of {key.Id}", Scripts.CloseUpload, keys.Upload(key, blob.Upload)[0], [UploadLife]).ConfigureAwait(false);
        }
    }

    async ValueTask<AppendStatus> GiveNameAsync(ConversationKey key, long epoch, string name, Blob blob, int pieces, CancellationToken cancellation)
    {
        while (true)
        {
            var before = await FindBlobAsync(key, name, cancellation).ConfigureAwait(false);
            RedisKey[] touched = [.. keys.Head(key), .. keys.Blobs(key), .. keys.Upload(key, blob.Upload), .. Uploads(key, before)];
            RedisValue[] values = [Values.Number(epoch), name, blob.Value, before?.Value ?? "", pieces, UploadLife];
            string outcome = (string)(await redis.JournalAsync($"store {name} of {key.Id}", Scripts.PutBlob, touched, values, cancellation).ConfigureAwait(false))!;
            if (outcome == "lost")
                throw new StoreException($"{redis.Name} could not store {name} of {key.Id}: not all of its pieces are there. The put took too long, its reply was lost and another one came, or the server failed over. Put it again.", isTransient: true);
            if (outcome != "moved") return Status(outcome);
        }
    }

    public async ValueTask<Stream?> ReadBlobAsync(ConversationKey key, string name, CancellationToken cancellation = default)
    {
        StoredBlob.CheckName(name);
        if (await FindBlobAsync(key, name, cancellation).ConfigureAwait(false) is not { } blob) return null;
        var upload = keys.Upload(key, blob.Upload);
        return new BlobStream($"The blob {name} of {key.Id}", blob.Length, async (piece, stop) =>
            (byte[]?)(RedisValue)await redis.BulkAsync($"read {name} of {key.Id}", Scripts.ReadPiece, upload, [piece], stop).ConfigureAwait(false));
    }

    public async ValueTask<IReadOnlyList<StoredBlob>> ListBlobsAsync(ConversationKey key, CancellationToken cancellation = default) =>
        [.. (await AllBlobsAsync(key, cancellation).ConfigureAwait(false)).Select(b => new StoredBlob(b.Name, b.Blob.Length)).OrderBy(b => b.Name, StringComparer.Ordinal)];

    public async ValueTask<AppendStatus> DeleteBlobAsync(ConversationKey key, long epoch, string name, CancellationToken cancellation = default)
    {
        StoredBlob.CheckName(name);
        while (true)
        {
            var blob = await FindBlobAsync(key, name, cancellation).ConfigureAwait(false);
            RedisKey[] touched = [.. keys.Head(key), .. keys.Blobs(key), .. Uploads(key, blob)];
            RedisValue[] values = [Values.Number(epoch), name, blob?.Value ?? "", UploadLife];
            string outcome = (string)(await redis.JournalAsync($"delete {name} of {key.Id}", Scripts.DeleteBlob, touched, values, cancellation).ConfigureAwait(false))!;
            if (outcome != "moved") return Status(outcome);
        }
    }

    RedisKey[] Uploads(ConversationKey key, Blob? blob) => blob is { } found ? keys.Upload(key, found.Upload) : [];

    async ValueTask<Blob?> FindBlobAsync(ConversationKey key, string name, CancellationToken cancellation)
    {
        var reply = await redis.BulkAsync($"find {name} of {key.Id}", Scripts.FindBlob, keys.Blobs(key), [name], cancellation).ConfigureAwait(false);
        return reply.IsNull ? null : Blob.Parse((RedisValue)reply);
    }

    async ValueTask<(string Name, Blob Blob)[]> AllBlobsAsync(ConversationKey key, CancellationToken cancellation)
    {
        var reply = (RedisValue[])(await redis.BulkAsync($"list the blobs of {key.Id}", Scripts.ListBlobs, keys.Blobs(key), [], cancellation).ConfigureAwait(false))!;
        return [.. reply.Chunk(2).Select(b => ((string)b[0]!, Blob.Parse(b[1])))];
    }
}
