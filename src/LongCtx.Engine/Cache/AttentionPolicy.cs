namespace LongCtx.Engine.Cache;

/// <summary>
/// The LongCtx cache rule: which keys a query sees and at which relative position, as a pure function of token indices.
/// Full attention, window only, StreamingLLM, SelfExtend and their combination are five settings of the same five numbers.
/// </summary>
/// <remarks>
/// For a query at index t: E(t) tokens after the sinks are gone, the rest is visible. SelfExtend is applied to the position in the
/// cache, p(x) = x for sinks and x - E(t) for the others. Because G divides B, a key keeps its rotation when something is evicted:
/// only the query of the sinks moves. Query rotations: neighbour t, group a(t), sink a(t) - e(t), where a(t) = floor(t/G) + W - floor(W/G)
/// and e(t) = E(t)/G. Key rotations: neighbour j, otherwise floor(j/G).
/// </remarks>
/// <param name="Sinks">S: the first tokens of the log, never evicted.</param>
/// <param name="Neighbours">W: the newest keys keep exact distances. Without effect for G = 1.</param>
/// <param name="Group">G: further back, G tokens share one position.</param>
/// <param name="Capacity">C: most keys a query sees, itself included; 0 is unlimited.</param>
/// <param name="Block">B: tokens are evicted in multiples of this.</param>
public sealed record AttentionPolicy(int Sinks, int Neighbours, int Group, int Capacity, int Block)
{
    public bool IsUnlimited => Capacity == 0;

    /// <summary>E(t): tokens evicted before query <paramref name="t"/> attends.</summary>
    public long Evicted(long t)
    {
        if (Capacity == 0 || t < Capacity) return 0;
        return (t - Capacity + Block) / Block * Block;
    }

    /// <summary>p(t): position of the query in the cache.</summary>
    public long CachePosition(long t) => t - Evicted(t);

    /// <summary>a(t): rotation of the query for keys beyond the neighbour window; also p(t) grouped, when the sinks' shift is taken off.</summary>
    public long FarPosition(long t) => t / Group + Neighbours - Neighbours / Group;

    /// <summary>Rotation of the query for the sinks: a(t) - e(t), or t - E(t) for G = 1.</summary>
    public long SinkPosition(long t) => FarPosition(t) - Evicted(t) / Group;

    /// <summary>Relative position between query <paramref name="t"/> and a visible key <paramref name="j"/>; for tests and explanation.</summary>
    public long RelativePosition(long t, long j)
    {
        long shift = j < Sinks ? Evicted(t) : 0;
        long distance = t - shift - j;
        if (Group == 1 || distance < Neighbours) return distance;
        return FarPosition(t) - shift / Group - j / Group;
    }

    /// <summary>
    /// T(t): first visible token after the sinks. In a chat that is the first turn start at or after S + E(t), if there is one within
    /// C/4 tokens, so that no turn is seen torn; otherwise S + E(t).
    /// </summary>
    public long FirstVisible(long t, TurnStarts turns)
    {
        long evicted = Evicted(t);
        long first = Math.Min(Sinks, t + 1);
        if (evicted == 0) return first;
        first = Sinks + evicted;
        long turn = turns.FirstAtOrAfter(first);
        return turn >= 0 && turn <= t && turn - first <= Capacity / 4 ? turn : first;
    }

    /// <summary>
    /// Tokens [S, this) have left the window once <paramref name="count"/> tokens are held: no query from that index on sees them. Never
    /// moves back as a sequence grows.
    /// </summary>
    public long EvictedUntil(long count, TurnStarts turns) => Math.Max(Sinks, FirstVisible(count, turns));

    /// <summary>How many keys are beyond the neighbour window for every query at or after <paramref name="count"/> - 1; 0 for G = 1.</summary>
    public long FarCount(long count) => Group == 1 ? 0 : Math.Max(0, count - Neighbours);

    /// <summary>Keys that query <paramref name="t"/> sees, itself included.</summary>
    public long VisibleCount(long t, TurnStarts turns) => Math.Min(Sinks, t + 1) + Math.Max(0, t + 1 - FirstVisible(t, turns));

    /// <summary>Most tokens a sequence may hold before a position passes the trained length; null when eviction keeps it bounded for ever.</summary>
    public long? LengthMax(int trainedLength) => IsUnlimited ? Reach(trainedLength) : null;

    /// <summary>The largest capacity for which every relative position stays inside the trained length.</summary>
    public long Reach(int trainedLength) =>
        Group == 1 ? trainedLength : (long)Group * (trainedLength - Neighbours + Neighbours / Group);

    /// <summary>Why these numbers cannot be honoured for a model trained on <paramref name="trainedLength"/> positions; null when they can.</summary>
    public string? Problem(int trainedLength) => Contradiction() ?? BeyondReach(trainedLength);

    /// <summary>A contradiction between the five numbers themselves.</summary>
    public string? Contradiction()
    {
        if (Sinks < 0) return $"S (sinks) = {Sinks} must not be negative";
        if (Group < 1) return $"G (group) = {Group} must be at least 1";
        if (Neighbours < 1) return $"W (neighbour window) = {Neighbours} must be at least 1";
        if (Capacity < 0) return $"C (capacity) = {Capacity} must not be negative; 0 means unlimited";
        if (Block < 1) return $"B (eviction block) = {Block} must be at least 1";
        if (Neighbours % Group != 0) return $"G = {Group} must divide W = {Neighbours}; the nearest W is {Math.Max(1, Neighbours / Group) * Group}";
        if (Block % Group != 0) return $"G = {Group} must divide B = {Block}; the nearest B is {Math.Max(1, Block / Group) * Group}";
        int least = Sinks + Block + (Group > 1 ? Neighbours : 0);
        if (Capacity != 0 && Capacity < least)
            return $"C (capacity) = {Capacity} is too small: it must be at least S{(Group > 1 ? " + W" : "")} + B = {least}";
        return null;
    }

    /// <summary>Positions that the model was never trained on.</summary>
    public string? BeyondReach(int trainedLength)
    {
        if (Group > 1 && Neighbours > trainedLength)
            return $"W (neighbour window) = {Neighbours} is larger than the trained length {trainedLength}";
        if (Capacity > Reach(trainedLength))
            return $"C (capacity) = {Capacity} is larger than {Reach(trainedLength)}, the bound for this model "
                + (Group == 1 ? "(its trained length)" : $"with G = {Group} and W = {Neighbours}: G*(L - W) + W with L = {trainedLength}");
        return null;
    }

    public override string ToString() => $"{Sinks},{Neighbours},{Group},{Capacity},{Block}";
}
