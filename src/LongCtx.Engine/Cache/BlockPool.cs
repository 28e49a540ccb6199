using System.Diagnostics;

namespace LongCtx.Engine.Cache;

/// <summary>
/// Names and reference counts of the KV blocks of one model. It knows no memory: the runner owns the keys and values behind each id.
/// Not thread-safe: the engine thread owns it.
/// </summary>
/// <remarks>Invariants: <c>FreeCount</c> + blocks with a reference = <c>BlockCount</c>; a block without reference is in no table.</remarks>
public sealed class BlockPool
{
    /// <summary>Tokens per block. Blocks are aligned to absolute token indices.</summary>
    public const int BlockSize = 64;

    readonly int[] _references;
    readonly int[] _adapters; // tag of the adapter version under which the block's first key was computed
    readonly int[] _free; // stack of free ids; low ids first, so that memory is touched only as far as it is needed

    public BlockPool(int blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockCount);
        BlockCount = FreeCount = blockCount;
        _references = new int[blockCount];
        _adapters = new int[blockCount];
        _free = new int[blockCount];
        for (int i = 0; i < blockCount; i++) _free[i] = blockCount - 1 - i;
    }

    public int BlockCount { get; }

    public int FreeCount { get; private set; }

    /// <summary>The adapter versions that the blocks, and the sequences over them, name.</summary>
    public AdapterTags Adapters { get; } = new();

    public bool IsShared(int id) => _references[id] > 1;

    /// <summary>Tag of the adapter version under which the first key of a used block was computed.</summary>
    public int AdapterOf(int id) => _adapters[id];

    /// <param name="id">The block; -1 when none is free.</param>
    /// <param name="adapter">What its first key will be computed under; somebody holds that tag.</param>
    public bool TryAllocate(out int id, int adapter = AdapterTags.Base)
    {
        if (FreeCount == 0)
        {
            id = -1;
            return false;
        }

        id = _free[--FreeCount];
        Debug.Assert(_references[id] == 0, "a free block has no reference");
        _references[id] = 1;
        _adapters[id] = adapter;
        Adapters.AddReference(adapter);
        return true;
    }

    public void AddReference(int id)
    {
        Debug.Assert(_references[id] > 0, "only a used block can be shared");
        _references[id]++;
    }

    public void Release(int id)
    {
        Debug.Assert(_references[id] > 0, "a block is released once for each reference");
        if (--_references[id] > 0) return;
        _free[FreeCount++] = id;
        Adapters.Release(_adapters[id]);
        _adapters[id] = AdapterTags.Base;
    }
}
