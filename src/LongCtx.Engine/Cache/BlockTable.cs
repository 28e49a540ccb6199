using System.Diagnostics;

namespace LongCtx.Engine.Cache;

/// <summary>
/// The blocks of one kind (sinks or the rest, near or far rotation) of one sequence: a contiguous run of absolute block numbers.
/// Block number n covers the tokens [n * BlockSize, (n + 1) * BlockSize).
/// </summary>
public sealed class BlockTable(BlockPool pool)
{
    readonly List<int> _ids = [];

    /// <summary>A table of fresh blocks, tagged as the runs say, which cover the range.</summary>
    public BlockTable(BlockPool pool, BlockRange range, AdapterRuns adapters) : this(pool)
    {
        First = range.First;
        foreach (AdapterRun run in adapters.Runs)
        {
            int tag = pool.Adapters.Acquire(run.Digest);
            for (int i = 0; i < run.Count; i++) _ids.Add(Allocate(tag));
            pool.Adapters.Release(tag); // the blocks hold it now
        }

        Debug.Assert(_ids.Count == range.Count, "runs cover their table");
    }

    /// <summary>Absolute number of the first block held.</summary>
    public long First { get; private set; }

    public int Count => _ids.Count;

    /// <summary>Blocks that nobody else holds: they come back to the pool when they are released here.</summary>
    public int OwnedCount => _ids.Count(id => !pool.IsShared(id));

    /// <summary>Whether the last block has to be copied before it is written again.</summary>
    public bool IsLastShared => _ids.Count > 0 && pool.IsShared(_ids[^1]);

    /// <summary>Pool ids of the blocks, in order.</summary>
    public IReadOnlyList<int> Ids => _ids;

    /// <summary>Absolute number behind the last block held.</summary>
    public long End => First + _ids.Count;

    public BlockRange Range => new(First, _ids.Count);

    /// <summary>What the blocks were computed under, in order.</summary>
    public AdapterRuns Adapters
    {
        get
        {
            List<AdapterRun> runs = [];
            for (int i = 0, from = 0; i < _ids.Count; i++)
            {
                if (i + 1 < _ids.Count && pool.AdapterOf(_ids[i + 1]) == pool.AdapterOf(_ids[i])) continue;
                runs.Add(new(pool.Adapters.DigestOf(pool.AdapterOf(_ids[i])), i + 1 - from));
                from = i + 1;
            }

            return new(runs);
        }
    }

    /// <summary>Pool id of the block with absolute number <paramref name="block"/>.</summary>
    public int this[long block] => _ids[checked((int)(block - First))];

    public bool Holds(long block) => block >= First && block < End;

    /// <summary>How many blocks <see cref="Extend"/> would have to allocate, copies of a shared tail included.</summary>
    public int Missing(long firstWritten, long end)
    {
        if (end <= firstWritten) return 0;
        long lastBlock = (end - 1) / BlockPool.BlockSize, firstBlock = firstWritten / BlockPool.BlockSize;
        int missing = (int)Math.Max(0, lastBlock + 1 - Math.Max(_ids.Count == 0 ? firstBlock : End, firstBlock));
        for (long b = firstBlock; b <= lastBlock && Holds(b); b++)
            if (pool.IsShared(this[b])) missing++;
        return missing;
    }

    /// <summary>
    /// Makes [<paramref name="firstWritten"/>, <paramref name="end"/>) writable: adds blocks at the end and replaces shared ones by
    /// copies (copy on write), which are reported as (source id, destination id). Copies keep their tag.
    /// </summary>
    /// <param name="firstWritten">First token to be written.</param>
    /// <param name="end">Behind the last one.</param>
    /// <param name="adapter">Tag of what new keys are computed under.</param>
    /// <param name="rotatedFrom">The table whose keys are rotated into this one: new blocks take the tags of its blocks.</param>
    /// <param name="copies">Takes the copies.</param>
    public void Extend(long firstWritten, long end, int adapter, BlockTable? rotatedFrom, List<(int Source, int Destination)> copies)
    {
        if (end <= firstWritten) return;
        long firstBlock = firstWritten / BlockPool.BlockSize, lastBlock = (end - 1) / BlockPool.BlockSize;
        if (_ids.Count == 0) First = firstBlock;
        Debug.Assert(firstBlock >= First && firstBlock <= End, "a table has no holes");
        for (long b = firstBlock; b <= lastBlock; b++)
        {
            if (b == End)
            {
                _ids.Add(Allocate(rotatedFrom?.Holds(b) is true ? pool.AdapterOf(rotatedFrom[b]) : adapter));
            }
            else if (pool.IsShared(this[b]))
            {
                int shared = this[b], copy = Allocate(pool.AdapterOf(shared));
                copies.Add((shared, copy));
                pool.Release(shared);
                _ids[(int)(b - First)] = copy;
            }
        }
    }

    /// <summary>Gives back all blocks that end at or before token <paramref name="index"/>.</summary>
    public void ReleaseBefore(long index)
    {
        int count = (int)Math.Clamp(index / BlockPool.BlockSize - First, 0, _ids.Count);
        if (count == 0) return;
        for (int i = 0; i < count; i++) pool.Release(_ids[i]);
        _ids.RemoveRange(0, count);
        First += count;
    }

    /// <summary>Gives back all blocks that begin at or after token <paramref name="index"/>.</summary>
    public void ReleaseFrom(long index)
    {
        long firstUnused = (index + BlockPool.BlockSize - 1) / BlockPool.BlockSize;
        while (_ids.Count > 0 && End > firstUnused)
        {
            pool.Release(_ids[^1]);
            _ids.RemoveAt(_ids.Count - 1);
        }
    }

    public BlockTable Share()
    {
        var copy = new BlockTable(pool) { First = First };
        foreach (int id in _ids)
        {
            pool.AddReference(id);
            copy._ids.Add(id);
        }

        return copy;
    }

    int Allocate(int adapter) => pool.TryAllocate(out int id, adapter) ? id : throw new InvalidOperationException("blocks must be reserved before a table is extended");
}
