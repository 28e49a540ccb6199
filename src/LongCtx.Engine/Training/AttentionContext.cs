using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;

namespace LongCtx.Engine.Training;

/// <summary>64 keys of one region: of the cache, or of the tokens that are trained.</summary>
/// <param name="First">Token of slot 0.</param>
/// <param name="Index">Block of the cache's regions as they are walked, or of the trained tokens.</param>
internal readonly record struct KeyBlock(Region Region, long First, bool IsTrained, int Index);

/// <summary>How queries, and keys of trained tokens, are rotated.</summary>
internal enum Rotation
{
    /// <summary>By the token's index: queries of the neighbour region, and keys.</summary>
    Near,

    /// <summary>By a(t): queries of keys beyond the neighbour window.</summary>
    Far,

    /// <summary>By a(t) - e(t): queries of the sinks.</summary>
    Sink,

    /// <summary>By floor(j/G): keys beyond the neighbour window.</summary>
    FarKey,
}

/// <summary>
/// What the queries of a training pass see, block of keys by block of keys: a few regions, each with its rotation of the query, merged in one
/// softmax. Without a cache the tokens begin at position 0 and see all before them. With one they continue it: its keys are constants, theirs
/// have gradients, and positions and visibility are those of its policy for every single query (<see cref="AttentionPolicy"/>).
/// </summary>
internal sealed class AttentionContext
{
    public const int RotationCount = 4;

    const int Block = BlockPool.BlockSize;
    const int RegionCount = AttentionPlan.RegionCount;

    static readonly AttentionPolicy Full = new(Sinks: 0, Neighbours: 1, Group: 1, Capacity: 0, Block: 1);

    readonly AttentionPlan.Interval[] _intervals; // [rows, regions]
    readonly bool[] _uses = new bool[RotationCount];

    public AttentionContext(KvSequence? cache, int tokens)
    {
        (Cache, Policy, Start) = (cache, cache?.Policy ?? Full, cache?.Count ?? 0);
        TurnStarts turns = cache?.Turns ?? new();
        _intervals = new AttentionPlan.Interval[tokens * RegionCount];
        for (int row = 0; row < tokens; row++)
        {
            long t = Start + row;
            for (Region region = Region.SinksNear; region <= Region.Near; region++) _intervals[row * RegionCount + (int)region] = Interval(region, t, turns);
        }

        for (Region region = Region.SinksNear; region <= Region.Near; region++) AddBlocks(region, tokens);
        _uses[(int)Rotation.Near] = true; // keys
        foreach (KeyBlock block in Blocks) _uses[(int)QueryRotation(block.Region)] = true;
    }

    /// <summary>Null: the tokens begin at position 0.</summary>
    public KvSequence? Cache { get; }

    public AttentionPolicy Policy { get; }

    /// <summary>Token of row 0.</summary>
    public long Start { get; }

    /// <summary>In the order in which they are walked.</summary>
    public List<KeyBlock> Blocks { get; } = [];

    /// <summary>Blocks of the cache among them.</summary>
    public int CachedCount { get; private set; }

    /// <summary>Whether a trained key is seen from beyond the neighbour window.</summary>
    public bool HasTrainedFarKeys => Uses(Rotation.FarKey);

    /// <summary>Pairs of a query, from a row on, and a key that it sees.</summary>
    public long ProductCount(int firstRow)
    {
        long count = 0;
        foreach (AttentionPlan.Interval see in _intervals.AsSpan(firstRow * RegionCount)) count += Math.Max(0, see.Last - see.First + 1);
        return count;
    }

    public bool Uses(Rotation rotation) => _uses[(int)rotation];

    /// <summary>As in inference (<see cref="AttentionPlan.QueryAngles"/>).</summary>
    public Rotation QueryRotation(Region region) => region switch
    {
        Region.Near => Rotation.Near,
        Region.SinksNear => Policy.Group == 1 ? Rotation.Sink : Rotation.Near,
        Region.Far => Rotation.Far,
        _ => Rotation.Sink,
    };

    /// <summary>Position whose angles a row's query or key is rotated by.</summary>
    public long Position(Rotation rotation, int row)
    {
        long t = Start + row;
        return rotation switch
        {
            Rotation.Near => t,
            Rotation.Far => Policy.FarPosition(t),
            Rotation.Sink => Policy.SinkPosition(t),
            _ => t / Policy.Group,
        };
    }

    /// <summary>Slots of a block that a row sees; empty where To &lt; From.</summary>
    public AttentionKernel.Slots Visible(int row, KeyBlock block)
    {
        AttentionPlan.Interval see = _intervals[row * RegionCount + (int)block.Region];
        long first = block.IsTrained ? see.First : Math.Min(see.First, Start), last = block.IsTrained ? see.Last : Math.Min(see.Last, Start - 1);
        return new((int)Math.Clamp(first - block.First, 0, Block), (int)Math.Clamp(last - block.First, -1, Block - 1));
    }

    AttentionPlan.Interval Interval(Region region, long t, TurnStarts turns)
    {
        long sinks = Policy.Sinks, first = Math.Max(sinks, Policy.FirstVisible(t, turns)), near = Policy.Group == 1 ? 0 : t - Policy.Neighbours + 1;
        return region switch
        {
            Region.SinksNear => new(Math.Max(0, near), Math.Min(sinks - 1, t)),
            Region.SinksFar => new(0, Math.Min(sinks, near) - 1),
            Region.Far => new(first, near - 1),
            _ => new(Math.Max(first, near), t),
        };
    }

    /// <summary>The blocks of a region that some row sees: first those of the cache, aligned to tokens, then those of the trained rows, aligned to row 0.</summary>
    void AddBlocks(Region region, int tokens)
    {
        long first = long.MaxValue, last = -1;
        for (int row = 0; row < tokens; row++)
        {
            AttentionPlan.Interval see = _intervals[row * RegionCount + (int)region];
            if (see.IsEmpty) continue;
            (first, last) = (Math.Min(first, see.First), Math.Max(last, see.Last));
        }

        for (long block = first / Block; block * Block <= Math.Min(last, Start - 1); block++) Blocks.Add(new(region, block * Block, IsTrained: false, CachedCount++));
        for (long row = Math.Max(0, first - Start) / Block * Block; Start + row <= last; row += Block)
        {
            Blocks.Add(new(region, Start + row, IsTrained: true, (int)(row / Block)));
            _uses[(int)Rotation.FarKey] |= region == Region.Far;
        }
    }
}
