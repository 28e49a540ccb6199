using System.Runtime.InteropServices;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Runtime;

namespace LongCtx.Engine.Cpu;

/// <summary>The four groups of keys that a query may see, in the order in which their partial attentions are merged.</summary>
internal enum Region
{
    /// <summary>Sinks rotated by j. For G = 1 all sinks; for G > 1 those within the neighbour window.</summary>
    SinksNear,

    /// <summary>Sinks rotated by floor(j/G).</summary>
    SinksFar,

    /// <summary>Keys beyond the neighbour window, rotated by floor(j/G).</summary>
    Far,

    /// <summary>Keys rotated by j.</summary>
    Near,
}

/// <summary>
/// Everything about a step's attention that is the same in all layers: what each row sees, where the blocks lie, at which angles queries
/// are rotated, which keys cross the neighbour boundary, and how the work is cut into tasks.
/// </summary>
/// <remarks>
/// Keys are walked in blocks aligned to absolute token index, in partial attentions over <see cref="SplitSize"/> aligned tokens, merged in
/// ascending order. So a row's result is the same bits whether one task does it all (prompt chunks) or one task per split (decoding).
/// </remarks>
internal sealed unsafe class AttentionPlan(KvMemory memory, RotaryEmbedding rotary, int headsPerKv) : IDisposable
{
    public const int RegionCount = 4;
    public const int SplitSize = 256;
    const int BlockSize = BlockPool.BlockSize;

    /// <summary>Query heads times rows of one tile: enough to reuse a widened block, small enough for the first-level cache.</summary>
    const int TileQueriesMax = 48;

    /// <summary>Entries of up to this many rows are cut along the keys, longer ones along the rows.</summary>
    const int SplitRowsMax = 4;

    /// <summary>Visible keys of one row in one region, both ends included.</summary>
    public readonly record struct Interval(long First, long Last)
    {
        public bool IsEmpty => Last < First;
    }

    /// <summary>Work of one task, for each KV head: rows against all regions, or against one split of one region.</summary>
    public readonly record struct Task(int Entry, int FirstRow, int RowCount, int Partial, Region Region, long Split)
    {
        public bool IsWhole => Partial < 0;
    }

    /// <summary>A key on its way to the far blocks. Angles are in <see cref="CrossingAngles"/>.</summary>
    public readonly record struct Crossing(nint Source, int SourceSlot, int SourceId, nint Destination, int DestinationSlot, int DestinationId);

    /// <summary>Where a new key goes.</summary>
    public readonly record struct Slot(nint Block, int Index, int Id);

    public readonly record struct BlockRun(long First, int Offset);

    readonly List<Task> _tasks = [];
    readonly List<Crossing> _crossings = [];
    readonly List<int> _splitEntries = [];
    Interval[] _intervals = [];
    Slot[] _slots = [];
    BlockRun[] _runs = [];
    int[] _partialOffsets = [];
    nint[] _blocks = [];
    int _blockCount;
    float* _angles;
    long _anglesCapacity;
    float* _crossingAngles;
    long _crossingAnglesCapacity;

    public int TileRowsMax { get; } = Math.Max(SplitRowsMax, TileQueriesMax / headsPerKv);

    public ReadOnlySpan<Task> Tasks => CollectionsMarshal.AsSpan(_tasks);

    public ReadOnlySpan<Crossing> Crossings => CollectionsMarshal.AsSpan(_crossings);

    /// <summary>Entries whose partial attentions have to be merged after the tasks.</summary>
    public ReadOnlySpan<int> SplitEntries => CollectionsMarshal.AsSpan(_splitEntries);

    /// <summary>Partial attentions of all split entries, for one KV head.</summary>
    public int PartialCount { get; private set; }

    public Interval Visible(int row, Region region) => _intervals[row * RegionCount + (int)region];

    public Slot NewKey(int row) => _slots[row];

    /// <summary>The partials [First, End) of a split entry, in merge order.</summary>
    public (int First, int End) Partials(int entry) => (_partialOffsets[entry], _partialOffsets[entry + 1]);

    /// <summary>Memory of the block with absolute number <paramref name="block"/> in a region of an entry; the low bit tells that it may be biased.</summary>
    public nint Block(int entry, Region region, long block)
    {
        BlockRun run = _runs[entry * RegionCount + (int)region];
        return _blocks[run.Offset + (int)(block - run.First)];
    }

    /// <summary>cos [pairs] and then sin [pairs] for a row's query in a region.</summary>
    public float* QueryAngles(int row, Region region, int group)
    {
        int kind = region switch { Region.Near => 0, Region.SinksNear => group == 1 ? 2 : 0, Region.Far => 1, _ => 2 };
        return _angles + (row * 3L + kind) * 2 * rotary.Pairs;
    }

    /// <summary>Angles of new keys: the neighbour rotation.</summary>
    public float* KeyAngles(int row) => _angles + row * 3L * 2 * rotary.Pairs;

    public float* CrossingAngles(int crossing) => _crossingAngles + crossing * 2L * rotary.Pairs;

    /// <summary>Plans a step whose blocks are reserved and not yet committed.</summary>
    public void Build(StepBatch batch)
    {
        _tasks.Clear();
        _crossings.Clear();
        _splitEntries.Clear();
        PartialCount = 0;
        _blockCount = 0;
        int rows = batch.RowCount, entries = batch.Entries.Length;
        if (_slots.Length < rows)
        {
            _slots = new Slot[rows];
            _intervals = new Interval[rows * RegionCount];
        }

        if (_partialOffsets.Length < entries + 1)
        {
            _partialOffsets = new int[entries + 1];
            _runs = new BlockRun[entries * RegionCount];
        }

        Grow(ref _angles, ref _anglesCapacity, rows * 3L * 2 * rotary.Pairs);
        for (int e = 0; e < entries; e++)
        {
            StepBatch.Entry entry = batch.Entries[e];
            PlanCrossings(entry.Sequence, entry.RowCount);
            PlanBlocks(e, entry.Sequence);
            for (int r = 0; r < entry.RowCount; r++) PlanRow(entry.Sequence, entry.FirstRow + r, entry.Sequence.Count + r);
            _partialOffsets[e] = PartialCount;
            if (entry.RowCount <= SplitRowsMax) SplitByKeys(e, entry);
            else SplitByRows(e, entry);
            _partialOffsets[e + 1] = PartialCount;
        }

        Grow(ref _crossingAngles, ref _crossingAnglesCapacity, _crossings.Count * 2L * rotary.Pairs);
        int crossing = 0;
        foreach (StepBatch.Entry entry in batch.Entries)
        {
            KvSequence s = entry.Sequence;
            for (long j = s.CrossingStart, end = s.FarCountAt(s.Count + entry.RowCount); j < end; j++, crossing++)
                rotary.DeltaAngles(j / s.Policy.Group - j, CrossingAngles(crossing), CrossingAngles(crossing) + rotary.Pairs);
        }
    }

    void PlanBlocks(int entry, KvSequence sequence)
    {
        for (int region = 0; region < RegionCount; region++)
        {
            BlockTable table = Table(sequence, (Region)region);
            _runs[entry * RegionCount + region] = new(table.First, _blockCount);
            if (_blocks.Length < _blockCount + table.Count) Array.Resize(ref _blocks, 2 * (_blockCount + table.Count));
            for (long b = table.First; b < table.End; b++)
                _blocks[_blockCount++] = (nint)memory.Block(table[b]) | (memory.IsBiased(table[b]) ? 1 : 0);
        }
    }

    static BlockTable Table(KvSequence s, Region region) =>
        region switch { Region.SinksNear => s.SinksNear, Region.SinksFar => s.SinksFar, Region.Far => s.Far, _ => s.Near };

    void PlanRow(KvSequence sequence, int row, long t)
    {
        AttentionPolicy p = sequence.Policy;
        long sinks = p.Sinks, first = Math.Max(sinks, p.FirstVisible(t, sequence.Turns));
        long near = p.Group == 1 ? 0 : t - p.Neighbours + 1; // first key within the neighbour window
        Span<Interval> see = _intervals.AsSpan(row * RegionCount, RegionCount);
        see[(int)Region.SinksNear] = new(Math.Max(0, near), Math.Min(sinks - 1, t));
        see[(int)Region.SinksFar] = new(0, Math.Min(sinks, near) - 1);
        see[(int)Region.Far] = new(first, near - 1);
        see[(int)Region.Near] = new(Math.Max(first, near), t);

        float* angles = KeyAngles(row);
        int pairs = rotary.Pairs;
        rotary.Angles(t, angles, angles + pairs);
        if (p.Group > 1) rotary.Angles(p.FarPosition(t), angles + 2 * pairs, angles + 3 * pairs);
        if (sinks > 0) rotary.Angles(p.SinkPosition(t), angles + 4 * pairs, angles + 5 * pairs);

        BlockTable table = t < sinks ? sequence.SinksNear : sequence.Near;
        int id = table[t / BlockSize];
        _slots[row] = new((nint)memory.Block(id), (int)(t % BlockSize), id);
    }

    void PlanCrossings(KvSequence sequence, int tokens)
    {
        for (long j = sequence.CrossingStart, end = sequence.FarCountAt(sequence.Count + tokens); j < end; j++)
        {
            bool sink = j < sequence.Policy.Sinks;
            int source = (sink ? sequence.SinksNear : sequence.Near)[j / BlockSize], destination = (sink ? sequence.SinksFar : sequence.Far)[j / BlockSize];
            int slot = (int)(j % BlockSize);
            if (memory.IsBiased(source)) memory.MarkBiased(destination); // now: this step reads it already
            _crossings.Add(new((nint)memory.Block(source), slot, source, (nint)memory.Block(destination), slot, destination));
        }
    }

    void SplitByRows(int e, StepBatch.Entry entry)
    {
        for (int r = 0; r < entry.RowCount; r += TileRowsMax)
            _tasks.Add(new(e, entry.FirstRow + r, Math.Min(TileRowsMax, entry.RowCount - r), -1, default, 0));
    }

    void SplitByKeys(int e, StepBatch.Entry entry)
    {
        _splitEntries.Add(e);
        for (Region region = Region.SinksNear; region <= Region.Near; region++)
        {
            (long first, long last) = Span(entry.FirstRow, entry.RowCount, region);
            for (long split = first / SplitSize; first <= last && split <= last / SplitSize; split++)
                _tasks.Add(new(e, entry.FirstRow, entry.RowCount, PartialCount++, region, split));
        }
    }

    /// <summary>The keys that any of the rows sees in a region; empty (last &lt; first) when none does.</summary>
    public (long First, long Last) Span(int firstRow, int rowCount, Region region)
    {
        long first = long.MaxValue, last = -1;
        for (int r = firstRow; r < firstRow + rowCount; r++)
        {
            Interval see = Visible(r, region);
            if (see.IsEmpty) continue;
            first = Math.Min(first, see.First);
            last = Math.Max(last, see.Last);
        }

        return (first, last);
    }

    static void Grow(ref float* buffer, ref long capacity, long needed)
    {
        if (needed <= capacity) return;
        NativeMemory.AlignedFree(buffer);
        capacity = needed + needed / 2;
        buffer = (float*)NativeMemory.AlignedAlloc((nuint)(capacity * sizeof(float)), 64);
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_angles);
        NativeMemory.AlignedFree(_crossingAngles);
        _angles = _crossingAngles = null;
    }
}
