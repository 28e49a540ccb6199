using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Kernels;
using LongCtx.Engine.Runtime;

namespace LongCtx.Engine.Tests.Cpu;

/// <summary>
/// The paged, chunked, threaded attention beside one O(n²) function in double that knows only the rule: visible keys and relative positions.
/// </summary>
public sealed unsafe class AttentionTests
{
    const int QueryHeads = 6, KvHeads = 2;

    sealed class Input(int seed, int rows, int d)
    {
        public readonly int Rows = rows, D = d;
        public readonly float[] Qkv = Random(seed, rows * (QueryHeads + 2 * KvHeads) * d);

        public float Query(long t, int head, int i) => Qkv[((int)t * (QueryHeads + 2 * KvHeads) + head) * D + i];

        public float Key(long t, int head, int i) => Query(t, QueryHeads + head, i);

        public float Value(long t, int head, int i) => Query(t, QueryHeads + KvHeads + head, i);

        static float[] Random(int seed, int count)
        {
            var random = new Random(seed);
            var x = new float[count];
            for (int i = 0; i < count; i++) x[i] = (float)(2 * random.NextDouble() - 1) * 1.5f;
            return x;
        }
    }

    static double[] Frequencies(int d) => [.. Enumerable.Range(0, d / 2).Select(i => Math.Pow(10000, -2.0 * i / d))];

    /// <summary>Output of query t, all heads: softmax over the visible keys of q · R(relative) k / sqrt(d).</summary>
    static double[] Naive(AttentionPolicy p, TurnStarts turns, Input x, long t)
    {
        double[] frequencies = Frequencies(x.D);
        var output = new double[QueryHeads * x.D];
        long first = p.FirstVisible(t, turns);
        for (int h = 0; h < QueryHeads; h++)
        {
            int kv = h / (QueryHeads / KvHeads);
            var scores = new List<(long J, double Score)>();
            for (long j = 0; j <= t; j++)
            {
                if (j >= p.Sinks && j < first) continue;
                double relative = p.RelativePosition(t, j), dot = 0;
                for (int i = 0; i < x.D / 2; i++)
                {
                    double c = Math.Cos(relative * frequencies[i]), s = Math.Sin(relative * frequencies[i]);
                    double qa = x.Query(t, h, i), qb = x.Query(t, h, i + x.D / 2), ka = x.Key(j, kv, i), kb = x.Key(j, kv, i + x.D / 2);
                    dot += (qa * c - qb * s) * ka + (qb * c + qa * s) * kb;
                }

                scores.Add((j, dot / Math.Sqrt(x.D)));
            }

            double max = scores.Max(s => s.Score), sum = scores.Sum(s => Math.Exp(s.Score - max));
            foreach ((long j, double score) in scores)
                for (int i = 0; i < x.D; i++) output[h * x.D + i] += Math.Exp(score - max) / sum * x.Value(j, kv, i);
        }

        return output;
    }

    static float[] Run(AttentionPolicy policy, Input x, long[] turnStarts, Func<int> chunk, int threads, int start = 0)
    {
        using var workers = new WorkerPool(threads);
        using var memory = new KvMemory(64, 1, KvHeads, x.D);
        using var attention = new Attention(memory, new RotaryEmbedding(Frequencies(x.D), 1), workers, QueryHeads, KvHeads, x.D);
        using var batch = new StepBatch();
        var sequence = new KvSequence(new BlockPool(64), policy);
        var output = new float[x.Rows * QueryHeads * x.D];
        int width = (QueryHeads + 2 * KvHeads) * x.D;
        for (int at = start; at < x.Rows;)
        {
            int count = Math.Min(chunk(), x.Rows - at);
            foreach (long turn in turnStarts)
                if (turn >= at && turn < at + count) sequence.Turns.Add(turn);
            batch.Clear();
            batch.Add(sequence, new int[count], LogitsKind.None);
            var copies = new List<(int, int)>();
            Assert.True(sequence.TryReserve(count, copies));
            attention.Plan(batch);
            fixed (float* qkv = x.Qkv)
            fixed (float* o = output)
                attention.Run(0, qkv + at * width, o + at * QueryHeads * x.D);
            sequence.Commit(count);
            at += count;
        }

        return output;
    }

    public static TheoryData<string, int> Rules => new()
    {
        { "0,1,1,0,1", 64 }, { "0,1,1,100,1", 64 }, { "4,1,1,100,1", 64 }, { "5,1,1,160,16", 32 }, { "70,1,1,300,64", 64 },
        { "0,16,4,0,4", 64 }, { "4,16,4,64,4", 64 }, { "4,64,4,200,16", 48 }, { "8,128,2,400,64", 64 }, { "66,30,3,200,9", 80 }, { "3,8,8,100,8", 128 },
    };

    [Theory]
    [MemberData(nameof(Rules))]
    public void Run_OfAnyRule_EqualsTheNaiveFunction(string rule, int d)
    {
        AttentionPolicy policy = PolicyOptions.ParseRule(rule);
        const int seed = 4711;
        var x = new Input(seed, 600, d);
        long[] turns = rule[..2] == "4," ? [0, 13, 40, 77, 130, 190, 260, 261, 350, 440, 500] : [];
        var starts = new TurnStarts();
        foreach (long turn in turns) starts.Add(turn);
        var random = new Random(seed);
        float[] output = Run(policy, x, turns, () => random.Next(3) == 0 ? 1 : random.Next(1, 130), 2);
        double worst = 0;
        for (long t = 0; t < x.Rows; t += t < 150 ? 1 : 7)
        {
            double[] expected = Naive(policy, starts, x, t);
            for (int i = 0; i < expected.Length; i++) worst = Math.Max(worst, Math.Abs(expected[i] - output[t * expected.Length + i]));
        }

        // Keys and values are halves (relative 2^-11, far keys rounded twice); scores stay below about 8.
        Assert.True(worst < 4e-3, $"seed {seed}: worst error {worst}");
    }

    [Theory]
    [MemberData(nameof(Rules))]
    public void Run_InAnyChunksOnAnyThreads_GivesTheSameBits(string rule, int d)
    {
        AttentionPolicy policy = PolicyOptions.ParseRule(rule);
        var x = new Input(99, 600, d);
        long[] turns = rule[..2] == "4," ? [0, 13, 40, 77, 130, 190, 260, 261, 350, 440, 500] : [];
        float[] whole = Run(policy, x, turns, () => 600, 1);
        foreach (int chunk in (int[])[1, 3, 7, 64, 512])
            Assert.Equal(whole, Run(policy, x, turns, () => chunk, chunk % 2 + 1));
    }

    [Theory]
    [InlineData(100, 4)]
    [InlineData(100_000, 4)]
    [InlineData(10_000_000, 16)]
    public void SecondRotation_OfAKey_EqualsAFreshRotation(long position, int group)
    {
        const int d = 64;
        var rotary = new RotaryEmbedding(Frequencies(d), 1);
        float* key = stackalloc float[d], twice = stackalloc float[d], fresh = stackalloc float[d], cos = stackalloc float[d / 2], sin = stackalloc float[d / 2];
        var random = new Random(7);
        for (int i = 0; i < d; i++) key[i] = (float)(2 * random.NextDouble() - 1);
        rotary.Angles(position, cos, sin);
        RotaryEmbedding.Rotate(key, twice, d, d / 2, cos, sin, 1);
        rotary.DeltaAngles(position / group - position, cos, sin);
        RotaryEmbedding.Rotate(twice, twice, d, d / 2, cos, sin, 1);
        rotary.Angles(position / group, cos, sin);
        RotaryEmbedding.Rotate(key, fresh, d, d / 2, cos, sin, 1);
        for (int i = 0; i < d; i++) Assert.Equal(fresh[i], twice[i], 1e-6);
    }

    [Fact]
    public void Bias_OfAKey_IsAddedToItsScore()
    {
        // With a bias of log 3 a key counts three times: two keys with equal scores weigh 3 : 1.
        const int d = 32;
        using var workers = new WorkerPool(1);
        using var memory = new KvMemory(4, 1, KvHeads, d);
        using var attention = new Attention(memory, new RotaryEmbedding(Frequencies(d), 1), workers, QueryHeads, KvHeads, d);
        using var batch = new StepBatch();
        var sequence = new KvSequence(new BlockPool(4), new(0, 1, 1, 0, 1));
        int width = (QueryHeads + 2 * KvHeads) * d;
        var qkv = new float[2 * width]; // all queries and keys zero: all scores zero
        for (int i = (QueryHeads + KvHeads) * d; i < width; i++) qkv[i] = 1;
        for (int i = width + (QueryHeads + KvHeads) * d; i < 2 * width; i++) qkv[i] = 2;
        var output = new float[2 * QueryHeads * d];
        for (int row = 0; row < 2; row++)
        {
            batch.Clear();
            batch.Add(sequence, new int[1], LogitsKind.None);
            Assert.True(sequence.TryReserve(1, []));
            attention.Plan(batch);
            fixed (float* q = qkv)
            fixed (float* o = output)
                attention.Run(0, q + row * width, o + row * QueryHeads * d);
            sequence.Commit(1);
            for (int h = 0; h < KvHeads; h++) memory.SetBias(sequence.Near[0], 0, h, 0, MathF.Log(3));
        }

        for (int i = 0; i < QueryHeads * d; i++) Assert.Equal(1.25, output[QueryHeads * d + i], 1e-5);
    }

    [Fact]
    public void Bias_OfAKeyThatGrowsOld_GoesWithIt()
    {
        // As above; the biased key leaves the neighbour window with the third token, and counts three times in that step as in all others.
        const int d = 32, tokens = 8;
        using var workers = new WorkerPool(1);
        using var memory = new KvMemory(4, 1, KvHeads, d);
        using var attention = new Attention(memory, new RotaryEmbedding(Frequencies(d), 1), workers, QueryHeads, KvHeads, d);
        using var batch = new StepBatch();
        var sequence = new KvSequence(new BlockPool(4), new(0, 2, 2, 0, 2));
        int width = (QueryHeads + 2 * KvHeads) * d;
        var qkv = new float[width];
        var output = new float[QueryHeads * d];
        for (int t = 0; t < tokens; t++)
        {
            for (int i = (QueryHeads + KvHeads) * d; i < width; i++) qkv[i] = t == 0 ? 1 : 2;
            batch.Clear();
            batch.Add(sequence, new int[1], LogitsKind.None);
            Assert.True(sequence.TryReserve(1, []));
            attention.Plan(batch);
            fixed (float* q = qkv)
            fixed (float* o = output)
                attention.Run(0, q, o);
            sequence.Commit(1);
            if (t == 0)
                for (int h = 0; h < KvHeads; h++) memory.SetBias(sequence.Near[0], 0, h, 0, MathF.Log(3));
            else
                foreach (float x in output) Assert.Equal((3.0 + 2 * t) / (3 + t), x, 1e-5);
        }
    }
}
