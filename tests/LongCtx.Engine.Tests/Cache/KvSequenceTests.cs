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

    [Fact]
    public void RandomSteps_BesideANaiveModel_HoldWhatTheNextQuerySeesAndLeakNoBlock()
    {
        int seed = Environment.TickCount;
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
                switch (random.Next(8))
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
    public void TryReserve_WithTooFewBlocks_ChangesNothing()
    {
        var pool = new BlockPool(2);
        var sequence = new KvSequence(pool, new(4, 1, 1, 0, 1));
        Assert.False(sequence.TryReserve(1000, []));
        Assert.Equal(2, pool.FreeCount);
        Assert.True(sequence.TryReserve(60, []));
    }
}
