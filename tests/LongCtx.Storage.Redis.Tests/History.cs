using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Redis.Tests;

/// <summary>A scripted life of some conversations that uses every member.</summary>
internal static class History
{
    public static readonly ConversationKey[] Keys = [Samples.Key(1), Samples.Key(2), Samples.Key(3, "other"), Samples.Key(4, "other")];

    public static readonly string[] Tenants = ["default", "other"];

    static CancellationToken Stop => TestContext.Current.CancellationToken;

    public static async Task RunAsync(IConversationStore store)
    {
        foreach (var key in Keys)
        {
            var owner = await Samples.StartAsync(store, key);
            for (int i = 0; i < 8; i++)
                Assert.Equal(AppendStatus.Appended, (await store.AppendAsync(key, Samples.Batch(owner.Epoch, i, isLive: i % 4 != 3), Stop)).Status);
            Assert.True(await store.SetMetadataAsync(key, new Dictionary<string, string> { ["title"] = "Land" }, Stop));
            Assert.True(await store.SetMetadataAsync(key, new Dictionary<string, string> { ["title"] = "Air" }, Stop));
            Assert.Equal(AppendStatus.Appended, await store.TrimAsync(key, owner.Epoch, 3, Stop));
        }
        foreach (int live in new[] { 0, 2 })
        {
            var owner = await store.AcquireAsync(Keys[live], "second", Stop);
            foreach (int length in new[] { 1, BlobPieces.Size + 1, 2 })
                Assert.Equal(AppendStatus.Appended, await store.PutBlobAsync(Keys[live], owner!.Epoch, "state", new(new byte[length]), Stop));
            Assert.Equal(AppendStatus.Appended, await store.PutBlobAsync(Keys[live], owner!.Epoch, "older", new(new byte[1]), Stop));
            Assert.Equal(AppendStatus.Appended, await store.DeleteBlobAsync(Keys[live], owner.Epoch, "older", Stop));
            Assert.Equal(AppendStatus.Appended, (await store.AppendAsync(Keys[live], Samples.Batch(owner!.Epoch, 8, isLive: true), Stop)).Status);
        }
        Assert.True(await store.DeleteAsync(Keys[1], Stop));
        Assert.True(await store.DeleteAsync(Keys[2], Stop));
    }

    /// <summary>Everything that can be read, apart from epochs and dates of deletion, which are the store's own.</summary>
    public static async Task<string[]> DescribeAsync(IConversationStore store)
    {
        List<string> lines = [];
        foreach (var key in Keys)
        {
            var head = await store.FindAsync(key, Stop);
            lines.Add(head is null ? $"{key} none" : $"{key} {head.Seed.Model} {string.Join(' ', head.Seed.Metadata)} {head.FirstSeq} to {head.Seq} '{head.State}' deleted {head.Deleted is not null}");
            lines.AddRange((await store.ReadAsync(key, 0, 1000, Stop)).Select(Samples.Text));
            lines.AddRange((await store.ReadTurnsAsync(key, 0, 1000, cancellation: Stop)).Select(t => t.ToString()));
            lines.AddRange((await store.ListBlobsAsync(key, Stop)).Select(b => b.ToString()));
        }
        foreach (string tenant in Tenants)
        {
            lines.AddRange((await store.ListAsync(tenant, null, 100, false, Stop)).Select(c => $"listed {c.Key}"));
            lines.Add($"{await store.CountAsync(tenant, Stop)} of {tenant}");
        }
        lines.AddRange((await store.ListLiveAsync(Stop)).Select(k => $"live {k}").Order(StringComparer.Ordinal));
        return [.. lines];
    }
}
