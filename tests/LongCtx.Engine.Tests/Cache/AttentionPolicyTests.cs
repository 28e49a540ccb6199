using LongCtx.Engine.Cache;

namespace LongCtx.Engine.Tests.Cache;

/// <summary>Acceptance tests 1-3 and 6 of the cache rule, against the reference semantics written as directly as they can be.</summary>
public sealed class AttentionPolicyTests
{
    static readonly TurnStarts NoTurns = new();

    static long Relative(AttentionPolicy p, long t, long j) => p.RelativePosition(t, j);

    static List<long> Visible(AttentionPolicy p, long t)
    {
        long first = p.FirstVisible(t, NoTurns);
        var keys = new List<long>();
        for (long j = 0; j <= t; j++)
            if (j < p.Sinks || j >= first) keys.Add(j);
        return keys;
    }

    static long SelfExtend(long i, long j, int w, int g) => i - j < w ? i - j : i / g - j / g + w - w / g;

    [Theory]
    [InlineData(4, 12, 5)]
    [InlineData(4, 12, 12)]
    [InlineData(0, 7, 3)]
    [InlineData(1, 20, 8)]
    [InlineData(4, 12, 16)]
    public void Rule_WithGroupOne_EqualsTheStreamingLoop(int sinks, int recent, int window)
    {
        var policy = new AttentionPolicy(sinks, window, 1, sinks + recent + 1, 1);
        var cache = new List<long>(); // append; relative position by cache index; then keep [0, S) and the last M
        for (long t = 0; t < 200; t++)
        {
            cache.Add(t);
            Assert.Equal(cache, Visible(policy, t));
            for (int i = 0; i < cache.Count; i++) Assert.Equal(cache.Count - 1 - i, Relative(policy, t, cache[i]));
            if (cache.Count > sinks + recent) cache.RemoveAt(sinks);
        }
    }

    [Theory]
    [InlineData(4, 16, 4)]
    [InlineData(4, 15, 5)]
    [InlineData(3, 9, 3)]
    [InlineData(0, 8, 8)]
    public void Rule_WithoutEviction_EqualsSelfExtend(int sinks, int window, int group)
    {
        var policy = new AttentionPolicy(sinks, window, group, 0, group);
        for (long i = 0; i < 300; i++)
            for (long j = 0; j <= i; j++)
                Assert.Equal(SelfExtend(i, j, window, group), Relative(policy, i, j));
    }

    [Fact]
    public void Rule_AtTheBound_StaysInsideTheTrainedLengthAndIsMonotone()
    {
        const int seed = 20261121;
        var random = new Random(seed);
        int drawn = 0;
        while (drawn < 200)
        {
            int g = ((int[])[1, 2, 3, 4, 8])[random.Next(5)];
            int l = random.Next(16, 81), w = Math.Max(g, random.Next(Math.Max(1, g), l + 1) / g * g), s = random.Next(7), b = g * random.Next(1, 5);
            if (w > l) continue;
            var reach = new AttentionPolicy(s, w, g, 0, b).Reach(l);
            if (w + b + s + 1 > reach) continue;
            int c = random.Next(w + b + s + 1, (int)reach + 1);
            var p = new AttentionPolicy(s, w, g, c, b);
            Assert.Null(p.Problem(l));
            drawn++;
            for (long t = 0; t < 6 * c; t += 3)
            {
                List<long> visible = Visible(p, t);
                string at = $"seed {seed}, rule {p}, L {l}, t {t}";
                Assert.True(visible.Count <= c, at);
                Assert.True(t < c || visible.Count >= c - b + 1, at);
                long evicted = p.Evicted(t), before = long.MaxValue;
                foreach (long j in visible)
                {
                    long rel = Relative(p, t, j);
                    Assert.True(rel >= 0 && rel <= l - 1, at);
                    Assert.True(rel <= before, at);
                    before = rel;
                    long Position(long x) => x < s ? x : x - evicted;
                    Assert.Equal(SelfExtend(Position(t), Position(j), w, g), rel);
                }
            }
        }
    }

    [Fact]
    public void Rotations_OfQueryAndKey_DifferByTheRelativePosition()
    {
        var p = new AttentionPolicy(4, 16, 4, 64, 4);
        Assert.Equal(40, p.Evicted(100)); // the worked vector of methods.md 1.5
        Assert.Equal(60, p.CachePosition(100));
        Assert.Equal([0, 1, 2, 3, .. Enumerable.Range(44, 57).Select(x => (long)x)], Visible(p, 100));
        foreach ((long j, long rel) in ((long, long)[])[(100, 0), (85, 15), (84, 16), (44, 26), (0, 27), (3, 27)])
            Assert.Equal(rel, p.RelativePosition(100, j));
        for (long t = 0; t < 400; t++)
            foreach (long j in Visible(p, t))
            {
                bool near = t - j < p.Neighbours;
                long rotated = near ? t - j : j < p.Sinks ? p.SinkPosition(t) - j / p.Group : p.FarPosition(t) - j / p.Group;
                Assert.Equal(p.RelativePosition(t, j), rotated);
            }
    }

    [Fact]
    public void FirstVisible_WithTurns_IsTheNextTurnStartWithinAQuarterOfTheCapacity()
    {
        var p = new AttentionPolicy(4, 1, 1, 64, 8);
        var turns = new TurnStarts();
        foreach (long start in (long[])[0, 10, 30, 55, 90, 95, 140, 300]) turns.Add(start);
        for (long t = 0; t < 400; t++)
        {
            long e = p.Evicted(t), expected = e == 0 ? Math.Min(4, t + 1) : 4 + e;
            if (e > 0)
                foreach (long start in (long[])[0, 10, 30, 55, 90, 95, 140, 300])
                    if (start >= 4 + e)
                    {
                        if (start <= t && start - (4 + e) <= 16) expected = start;
                        break;
                    }

            Assert.Equal(expected, p.FirstVisible(t, turns));
        }
    }

    [Theory]
    [InlineData("4,15,4,64,4", "G = 4 must divide W = 15")]
    [InlineData("4,16,4,64,6", "G = 4 must divide B = 6")]
    [InlineData("4,16,4,20,4", "at least S + W + B = 24")]
    [InlineData("4,1,1,4,1", "at least S + B = 5")]
    [InlineData("-1,1,1,64,1", "must not be negative")]
    [InlineData("0,1,0,64,1", "at least 1")]
    public void ParseRule_OfContradictingNumbers_IsRefusedWithTheBound(string rule, string message)
    {
        var e = Assert.Throws<LongCtxException>(() => PolicyOptions.ParseRule(rule));
        Assert.Contains(message, e.Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("1,2,3")]
    [InlineData("a,b,c,d,e")]
    [InlineData("1,1,1,99999999999,1")]
    public void ParseRule_OfSomethingElse_IsRefused(string rule) => Assert.Throws<LongCtxException>(() => PolicyOptions.ParseRule(rule));

    [Fact]
    public void Problem_AboveTheBound_NamesTheBound()
    {
        Assert.Contains("29696", new AttentionPolicy(8, 1024, 4, 29697, 64).Problem(8192));
        Assert.Null(new AttentionPolicy(8, 1024, 4, 29696, 64).Problem(8192));
        Assert.Contains("8192", new AttentionPolicy(8, 1, 1, 8193, 64).Problem(8192));
    }

    [Theory]
    [InlineData("full", 8192, null, 0, "0,1,1,0,1")]
    [InlineData("window", 8192, null, 0, "0,1,1,4096,64")]
    [InlineData("streaming", 8192, null, 0, "4,1,1,4096,64")]
    [InlineData("streaming", 8192, 512, 0, "4,1,1,512,16")]
    [InlineData("endless", 8192, null, 31, "31,1024,1,4096,64")]
    [InlineData("endless", 8192, 13312, 6, "8,1024,4,13312,64")]
    [InlineData("endless", 8192, 13312, 5000, "256,1024,4,13312,64")]
    [InlineData("endless", 512, null, 0, "4,64,1,512,16")]
    [InlineData("endless", 512, null, 300, "128,64,1,512,16")]
    [InlineData("selfextend", 8192, null, 0, "0,1024,4,0,4")]
    [InlineData("selfextend", 8192, 8192, 0, "0,1024,2,0,2")]
    public void Resolve_OfAPreset_GivesTheFiveNumbers(string preset, int trained, int? capacity, int system, string expected) =>
        Assert.Equal(expected, new PolicyOptions(preset, capacity).Resolve(trained, system).ToString());

    [Theory]
    [InlineData("endless", 15)]
    [InlineData("window", -5)]
    [InlineData("full", 4096)]
    [InlineData("streaming", 9000)]
    [InlineData("endless", 1000000)]
    [InlineData("selfextend", 1000000)]
    [InlineData("best", null)]
    public void Resolve_OfAWishThatCannotBeHonoured_IsRefused(string preset, int? capacity) =>
        Assert.Throws<LongCtxException>(() => new PolicyOptions(preset, capacity).Resolve(8192));
}
