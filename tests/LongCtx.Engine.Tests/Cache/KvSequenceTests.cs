using LongCtx.Engine.Cache;

namespace LongCtx.Engine.Tests.Cache;

/// <summary>Block tables beside a naive model that remembers, for every block, which tokens were written into it.</summary>
public sealed class KvSequenceTests
{
    const int Size = BlockPool.BlockSize;

    /// <summary>What the memory would hold: per block and slot, the token (sequence version, index) written there.</summary>
    sealed class Memory
    {
        public readonly Dictionary<int, long[]> Blocks = [];

        public long[] Of(int id) => Blocks.TryGetValue(id, out long[]? b) ? b : Blocks[id] = new long[Size];
    }

    /// <summary>A sequence and the values that its tokens must have: a fork shares them, later tokens get fresh ones.</summary>
    sealed class Twin(KvSequence sequence, List<long> values)
    {
        public readonly KvSequence Sequence = sequence;
        public readonly List<long> Values = values;
    }

    static long fresh;

    static void Append(Twin twin, int reserved, int accepted, Memory memory)
    {
        KvSequence s = twin.Sequence;
        var copies = new List<(int, int)>();
        long crossing = s.CrossingStart;
        Assert.True(s.TryReserve(reserved, copies));
        foreach ((int source, int destination) in copies) memory.Of(source).CopyTo(memory.Of(destination), 0);
        long start = s.Count;
        for (int i = 0; i < reserved; i++)
        {
            long j = start + i;
            twin.Values.Add(++fresh);
            BlockTable near = j < s.Policy.Sinks ? s.SinksNear : s.Near;
            memory.Of(near[j / Size])[j % Size] = twin.Values[(int)j];
        }

        for (long j = crossing; j < s.FarCountAt(start + reserved); j++)
        {
            BlockTable near = j < s.Policy.Sinks ? s.SinksNear : s.Near, far = j < s.Policy.Sinks ? s.SinksFar : s.Far;
            memory.Of(far[j / Size])[j % Size] = memory.Of(near[j / Size])[j % Size];
        }

        s.Commit(accepted);
        twin.Values.RemoveRange((int)start + accepted, reserved - accepted);
    }

    /// <summary>Every key that the next query sees is held, in the right rotation, with the right content.</summary>
    static void Check(Twin twin, Memory memory, string at)
    {
        KvSequence s = twin.Sequence;
        AttentionPolicy p = s.Policy;
        long t = s.Count, first = p.FirstVisible(t, s.Turns);
        for (long j = 0; j < t; j++)
        {
            if (j >= p.Sinks && j < first) continue;
            bool far = j < s.FarCount; // the key at FarCount crosses in the step of query t itself
            BlockTable table = j < p.Sinks ? (far ? s.SinksFar : s.SinksNear) : far ? s.Far : s.Near;
            Assert.True(table.Holds(j / Size), $"{at}: key {j} of query {t} is not held");
            Assert.True(memory.Of(table[j / Size])[j % Size] == twin.Values[(int)j], $"{at}: key {j} of query {t} is overwritten");
        }
    }

    /// <summary>The same sequence in fresh blocks, filled with what a file would hold: only the slots that its state says are in use.</summary>
    static Twin Restored(Twin twin, BlockPool pool, Memory memory, string at)
    {
        KvState state = twin.Sequence.State;
        Assert.True(state.Problem() is null, $"{at}: {state.Problem()}");
        if (state.BlockCount > pool.FreeCount) return new(twin.Sequence.Fork(), twin.Values);
        KvSequence restored = KvSequence.Restore(pool, state);
        foreach (KvTable table in Enum.GetValues<KvTable>())
        {
            (long from, long end) = state.Tokens(table);
            for (long b = state[table].First; b < state[table].End; b++)
            {
                long[] source = memory.Of(twin.Sequence[table][b]), destination = memory.Of(restored[table][b]);
                for (int i = 0; i < Size; i++) destination[i] = b * Size + i >= from && b * Size + i < end ? source[i] : -1;
            }
        }

        Assert.Equal((at, state with { Turns = restored.Turns }), (at, restored.State));
        return new(restored, twin.Values);
    }

    [Theory]
    [InlineData(24452317)] // cut at the start of a turn: what that turn had hidden becomes visible again
    [InlineData(null)]
    public void RandomSteps_BesideANaiveModel_HoldWhatTheNextQuerySeesAndLeakNoBlock(int? chosen)
    {
        int seed = chosen ?? Environment.TickCount;
        var random = new Random(seed);
        for (int round = 0; round < 60; round++)
        {
            int g = ((int[])[1, 1, 2, 4])[random.Next(4)], w = g * random.Next(1, 40), b = g * random.Next(1, 20), s = random.Next(80);
            int c = random.Next(4) == 0 ? 0 : s + w + b + random.Next(300);
            var policy = new AttentionPolicy(s, w, g, c, b);
            Assert.Null(policy.Contradiction());
            var pool = new BlockPool(400);
            var memory = new Memory();
            var twins = new List<Twin> { new(new(pool, policy), []) };
            for (int step = 0; step < 120; step++)
            {
                string at = $"seed {seed}, round {round}, rule {policy}, step {step}";
                Twin twin = twins[random.Next(twins.Count)];
                switch (random.Next(9))
                {
                    case 0 when twins.Count < 4:
                        twins.Add(new(twin.Sequence.Fork(), [.. twin.Values]));
                        break;
                    case 1 when twins.Count > 1:
                        twin.Sequence.Dispose();
                        twins.Remove(twin);
                        break;
                    case 2:
                        long length = twin.Sequence.Count - random.Next(0, (int)Math.Min(twin.Sequence.Count, 100) + 1);
                        if (!twin.Sequence.CanTruncate(length)) break;
                        twin.Sequence.Truncate(length);
                        twin.Values.RemoveRange((int)length, twin.Values.Count - (int)length);
                        break;
                    case 3:
                        Twin copy = Restored(twin, pool, memory, at);
                        twin.Sequence.Dispose();
                        twins[twins.IndexOf(twin)] = copy;
                        break;
                    default:
                        int reserved = random.Next(1, random.Next(2) == 0 ? 3 : 150);
                        if (twin.Sequence.BlocksNeeded(reserved) > pool.FreeCount || twin.Sequence.Count > 3000) break;
                        if (random.Next(3) == 0) twin.Sequence.Turns.Add(twin.Sequence.Count + random.Next(reserved));
                        int free = pool.FreeCount, needed = twin.Sequence.BlocksNeeded(reserved);
                        Append(twin, reserved, random.Next(4) == 0 ? random.Next(reserved + 1) : reserved, memory);
                        Assert.True(pool.FreeCount >= free - needed, $"{at}: {free} free, {needed} needed for {reserved}, now {pool.FreeCount}");
                        break;
                }

                foreach (Twin each in twins) Check(each, memory, at);
            }

            foreach (Twin twin in twins) twin.Sequence.Dispose();
            Assert.Equal(pool.BlockCount, pool.FreeCount);
        }
    }

    [Theory]
    [InlineData(195, 136, false)] // once the turn at 136 is undone, the window begins at 120 again: in a block that is gone
    [InlineData(136, 136, false)]
    [InlineData(195, 137, true)]
    [InlineData(195, 195, true)]
    [InlineData(135, 130, true)]
    public void CanTruncate_AtTheStartOfATurn_AsksForWhatIsVisibleWithoutThatTurn(int count, long length, bool can)
    {
        var policy = new AttentionPolicy(0, 1, 1, 76, 60);
        var sequence = new KvSequence(new BlockPool(20), policy);
        sequence.Turns.Add(136);
        Assert.True(sequence.TryReserve(count, []));
        sequence.Commit(count);
        Assert.Equal(can, sequence.CanTruncate(length));
        if (!can) return;
        sequence.Truncate(length);
        Assert.Null(sequence.State.Problem());
    }

    [Theory]
    [InlineData("4,16,4,64,4")]
    [InlineData("4,1,1,512,1")]
    [InlineData("8,1024,4,4096,64")]
    public void EndlessStream_HoldsABoundedNumberOfBlocks(string rule)
    {
        AttentionPolicy policy = PolicyOptions.ParseRule(rule);
        var pool = new BlockPool(1000);
        var sequence = new KvSequence(pool, policy);
        var copies = new List<(int, int)>();
        int most = 0;
        for (int step = 0; step < 2000; step++)
        {
            Assert.True(sequence.TryReserve(100, copies));
            most = Math.Max(most, sequence.BlocksHeld);
            sequence.Commit(100);
        }

        Assert.Equal(200_000, sequence.Count);
        Assert.True(most <= LongCtx.Engine.Scheduling.Admission.BlocksMax(policy, 200_000, 100), $"{most} blocks");
        Assert.Empty(copies);
    }

    [Fact]
    public void ReleasedBlocks_LieBeforeWhatTheJournalKnowsAsEvicted()
    {
        // The owner of a conversation knows the policy, all turn starts and the count, and nothing of blocks.
        int seed = Environment.TickCount;
        var random = new Random(seed);
        for (int round = 0; round < 200; round++)
        {
            int g = ((int[])[1, 1, 2, 4])[random.Next(4)], w = g * random.Next(1, 40), b = g * random.Next(1, 60), s = random.Next(80);
            var policy = new AttentionPolicy(s, w, g, random.Next(6) == 0 ? 0 : s + w + b + random.Next(300), b);
            var pool = new BlockPool(200);
            var sequence = new KvSequence(pool, policy);
            List<long> journal = [];
            long evicted = s;
            while (sequence.Count < 2500)
            {
                string at = $"seed {seed}, round {round}, rule {policy}, {sequence.Count} tokens";
                int tokens = random.Next(1, random.Next(2) == 0 ? 3 : 200);
                if (random.Next(2) == 0 && (journal.Count == 0 || journal[^1] < sequence.Count)) journal.Add(sequence.Count + random.Next(tokens));
                if (journal.Count > 0) sequence.Turns.Add(journal[^1]);
                Assert.True(sequence.TryReserve(tokens, []));
                sequence.Commit(tokens);

                var known = new TurnStarts(journal); // as it comes back from a file, with nothing forgotten
                Assert.Equal(journal, known.ToArray());
                long until = policy.EvictedUntil(sequence.Count, known);
                Assert.True(until >= evicted, $"{at}: {until} after {evicted}");
                evicted = until;
                Assert.True(until == Math.Max(s, policy.FirstVisible(sequence.Count, known)), at);
                Assert.True(until == Math.Max(s, policy.FirstVisible(sequence.Count, sequence.Turns)), at);
                for (long j = until; j < sequence.Count; j++)
                    Assert.True((j < sequence.FarCount ? sequence.Far : sequence.Near).Holds(j / Size), $"{at}: key {j} is gone, {until} and later are not evicted");
                foreach (BlockTable table in (BlockTable[])[sequence.Near, sequence.Far])
                    Assert.True(table.Count == 0 || table.First >= until / Size, $"{at}: block {table.First} is held, evicted until {until}");
            }

            sequence.Dispose();
        }
    }

    [Fact]
    public void TryReserve_WithTooFewBlocks_ChangesNothing()
    {
        var pool = new BlockPool(2);
        var sequence = new KvSequence(pool, new(4, 1, 1, 0, 1));
        Assert.False(sequence.TryReserve(1000, []));
        Assert.Equal(2, pool.FreeCount);
        Assert.True(sequence.TryReserve(60, []));
    }
}
