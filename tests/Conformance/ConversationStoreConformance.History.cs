namespace LongCtx.Conversations.Storage.Tests;

// A random history, call by call beside the naive twin.
partial class ConversationStoreConformance
{
    [Fact]
    public async Task RandomHistory_EveryResultIsTheTwins()
    {
        int seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        Random random = new(seed);
        NaiveStore twin = new();
        for (int round = 0; round < 8; round++)
        {
            await using var store = await OpenAsync();
            History history = new(random, twin, store, round);
            for (int step = 0; step < 120; step++)
            {
                (string call, string expected, string actual) = await history.StepAsync();
                Assert.True(expected == actual, $"seed {seed}, round {round}, step {step}, {call}: expected {expected}, got {actual}");
            }
        }
    }

    sealed class History(Random random, NaiveStore twin, IConversationStore store, int round)
    {
        readonly ConversationKey[] keys = [Id(1, $"a{round}"), Id(2, $"a{round}"), Id(3, $"a{round}"), Id(1, $"b{round}")];

        /// <summary>The epochs that were acquired, as the twin and the store count them; the last one owns.</summary>
        readonly Dictionary<ConversationKey, List<(long Twin, long Store)>> epochs = [];

        readonly Dictionary<ConversationKey, AppendBatch> sent = [];

        public async Task<(string Call, string Expected, string Actual)> StepAsync()
        {
            var key = keys[random.Next(keys.Length)];
            epochs.TryAdd(key, [(-1, -1)]);
            var head = await twin.FindAsync(key, Stop);
            int from = random.Next(-1, 8), max = random.Next(1, 10);
            bool down = random.Next(2) == 0;
            switch (random.Next(100))
            {
                case < 5: return await BothAsync($"create {key}", async s => Show(await s.CreateAsync(key, Seed with { Created = from }, Stop)));
                case < 12: return await AcquireAsync(key);
                case < 55: return await AppendAsync(key, head);
                case < 60:
                    Dictionary<string, string> metadata = new() { ["n"] = $"{from}" };
                    return await BothAsync($"metadata of {key}", async s => Show(await s.SetMetadataAsync(key, metadata, Stop)));
                case < 65:
                    int owner = Owner(key);
                    long upTo = random.Next((int)(head?.Seq ?? 0) + 3);
                    return await BothAsync($"trim {key} to {upTo} as {owner}", async s => Show(await s.TrimAsync(key, Epoch(s, key, owner), upTo, Stop)));
                case < 67: return await BothAsync($"delete {key}", async s => Show(await s.DeleteAsync(key, Stop)));
                case < 72: return await BothAsync($"list {key.Tenant}", async s => Lines((await s.ListAsync(key.Tenant, from < 0 ? null : Id(from).Id, max, down, Stop)).Select(WithoutEpoch)));
                case < 74: return await BothAsync("count", async s => Show(await s.CountAsync(key.Tenant, Stop)));
                case < 77: return await BothAsync("live", async s => Lines((await s.ListLiveAsync(Stop)).Select(k => k.ToString()).Order(StringComparer.Ordinal)));
                case < 81: return await BothAsync($"turns of {key}", async s => Lines(await s.ReadTurnsAsync(key, Math.Max(0, from), max, down, Stop)));
                case < 84: return await BothAsync($"segments of {key}", async s => Lines((await s.ReadSegmentsAsync(key, Math.Max(0, from), max, Stop)).Select(Text)));
                case < 87: return await BothAsync($"turn of {key}", async s => Show(await s.FindTurnAsync(key, $"turn-{from}", Stop)));
                case < 92: return await ChangeBlobAsync(key, $"blob-{Math.Abs(from)}");
                case < 95: return await BothAsync($"blobs of {key}", async s => Lines(await BlobsAsync(s, key)));
                default:
                    return await BothAsync($"all of {key}", async s =>
                        $"{WithoutEpoch(await s.FindAsync(key, Stop))}\n{Lines((await s.ReadAsync(key, 0, 1000, Stop)).Select(Text))}\n{Lines(await s.ReadTurnsAsync(key, 0, 1000, cancellation: Stop))}");
            }
        }

        async Task<(string, string, string)> BothAsync(string call, Func<IConversationStore, Task<string>> run) => (call, await run(twin), await run(store));

        async Task<(string, string, string)> AcquireAsync(ConversationKey key)
        {
            var (expected, actual) = (await twin.AcquireAsync(key, "test", Stop), await store.AcquireAsync(key, "test", Stop));
            if (expected is { Deleted: null } && actual is { Deleted: null })
            {
                Assert.True(actual.Epoch > epochs[key][^1].Store);
                epochs[key].Add((expected.Epoch, actual.Epoch));
            }
            return ($"acquire {key}", WithoutEpoch(expected), WithoutEpoch(actual));
        }

        /// <summary>Mostly what the owner would send next; now and then what a former owner would, a repetition, or nonsense.</summary>
        async Task<(string, string, string)> AppendAsync(ConversationKey key, StoredConversation? head)
        {
            int owner = Owner(key), shape = random.Next(10);
            long seq = Math.Max(0, (head?.Seq ?? 0) + (shape == 0 ? random.Next(-2, 3) : 0));
            int turn = random.Next(1, 8);
            if (shape != 1 || !sent.TryGetValue(key, out var batch))
            {
                batch = Batch(0, seq, random.Next(1, 4)) with
                {
                    Turns = random.Next(3) == 0 ? [Turn(turn, (TurnStatus)random.Next(5))] : [],
                    Segments = random.Next(3) == 0 ? [Segment(1 + (await twin.ReadSegmentsAsync(key, 0, 1000, Stop)).Count)] : [],
                    IsLive = random.Next(2) == 0,
                };
            }
            sent[key] = batch;
            return await BothAsync($"append to {key} after {batch.ExpectedSeq} as {owner}", async s =>
            {
                var result = await s.AppendAsync(key, batch with { Epoch = Epoch(s, key, owner) }, Stop);
                return result.Status == AppendStatus.Gone ? "gone" : result.ToString();
            });
        }

        async Task<(string, string, string)> ChangeBlobAsync(ConversationKey key, string name)
        {
            int owner = Owner(key), length = random.Next(10) == 0 ? random.Next(3 * BlobPieces.Size) : random.Next(3);
            byte[] content = new byte[length];
            random.NextBytes(content);
            return random.Next(4) == 0
                ? await BothAsync($"delete {name} of {key} as {owner}", async s => Show(await s.DeleteBlobAsync(key, Epoch(s, key, owner), name, Stop)))
                : await BothAsync($"put {length} bytes as {name} of {key} as {owner}", async s => Show(await s.PutBlobAsync(key, Epoch(s, key, owner), name, new(content), Stop)));
        }

        int Owner(ConversationKey key) => random.Next(8) == 0 ? random.Next(epochs[key].Count) : epochs[key].Count - 1;

        long Epoch(IConversationStore s, ConversationKey key, int owner) => s == twin ? epochs[key][owner].Twin : epochs[key][owner].Store;

        static string WithoutEpoch(StoredConversation? head) => Text(head is null ? null : head with { Epoch = 0 });

        static string Show<T>(T value) => value?.ToString() ?? "none";

        static string Lines<T>(IEnumerable<T> values) => string.Join('\n', values);
    }
}
