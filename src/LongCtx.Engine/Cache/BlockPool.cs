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
    readonly int[] _free; // stack of free ids; low ids first, so that memory is touched only as far as it is needed

    public BlockPool(int blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockCount);
        BlockCount = FreeCount = blockCount;
        _references = new int[blockCount];
        _free = new int[blockCount];
        for (int i = 0; i < blockCount; i++) _free[i] = blockCount - 1 - i;
    }

    public int BlockCount { get; }

    public int FreeCount { get; private set; }

    public bool IsShared(int id) => _references[id] > 1;

    public bool TryAllocate(out int id)
    {
        if (FreeCount == 0)
        {
            id = -1;
            return false;
        }

        id = _free[--FreeCount];
        Debug.Assert(_references[id] == 0, "a free block has no reference");
        _references[id] = 1;
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
        if (--_references[id] == 0) _free[FreeCount++] = id;
    }
}
