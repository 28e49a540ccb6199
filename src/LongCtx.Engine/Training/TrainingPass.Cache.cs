using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;

namespace LongCtx.Engine.Training;

/// <summary>Keys and values of a live cache, one layer at a time in single precision and in both orders that the kernels take.</summary>
internal sealed unsafe partial class TrainingPass
{
    IEnumerable<TrainingUnit> LoadCache(int layer)
    {
        const int BlocksPerUnit = 16;
        KeyBlock[] cached = [.. _context.Blocks.Where(b => !b.IsTrained)];
        for (int first = 0; first < cached.Length; first += BlocksPerUnit)
        {
            int from = first;
            Run(Math.Min(BlocksPerUnit, cached.Length - from), (part, worker) =>
            {
                for (int head = 0; head < _c.KeyValueHeadCount; head++) LoadCachedBlock(layer, head, cached[from + part], worker);
            });
            yield return TrainingUnit.LoadCache;
        }
    }

    void LoadCachedBlock(int layer, int head, KeyBlock block, int worker)
    {
        KvSequence cache = _context.Cache!;
        bool isSink = block.Region is Region.SinksNear or Region.SinksFar, isFar = block.Region is Region.SinksFar or Region.Far;
        BlockTable near = isSink ? cache.SinksNear : cache.Near, own = isSink ? cache.SinksFar : cache.Far;
        long number = block.First / Block;
        CachedBlock to = Cached(head, block.Index);

        // Far keys are in the cache once they have crossed; the rest cross while the trained tokens go by, and are rotated here instead.
        int crossed = isFar ? (int)Math.Clamp(cache.FarCount - block.First, 0, Block) : 0;
        if (crossed > 0 && own.Holds(number)) Widen(own[number], layer, head, to, 0, crossed);
        int end = (int)Math.Min(Block, _context.Start - block.First);
        if (crossed < end && near.Holds(number))
        {
            Widen(near[number], layer, head, to, crossed, end);
            for (int slot = crossed; isFar && slot < end; slot++) CrossKey(to.KeysTransposed + slot, block.First + slot, worker);
        }

        for (int slot = 0; slot < Block; slot++)
            for (int i = 0; i < D; i++)
            {
                to.Keys[slot * V + i] = to.KeysTransposed[i * Block + slot];
                to.ValuesTransposed[i * Block + slot] = to.Values[slot * V + i];
            }
    }

    /// <summary>Slots [from, end) of a block in memory: keys [d][64], values [64][v], and biases.</summary>
    void Widen(int id, int layer, int head, CachedBlock to, int from, int end)
    {
        byte* memory = _memory.Block(id) + _memory.HeadOffset(layer, head);
        for (int i = 0; i < D; i++)
            for (int slot = from; slot < end; slot++) to.KeysTransposed[i * Block + slot] = (float)((Half*)memory)[i * Block + slot];
        for (int at = from * V; at < end * V; at++) to.Values[at] = (float)((Half*)(memory + _memory.KeyBytes))[at];
        for (int slot = from; slot < end; slot++) to.Bias[slot] = _memory.IsBiased(id) ? ((float*)(memory + _memory.BiasOffset))[slot] : 0;
    }

    /// <summary>The second rotation of a key, by floor(j/G) - j.</summary>
    void CrossKey(float* column, long token, int worker)
    {
        int pairs = _rotary.Pairs;
        float* key = _w.Scratch[worker].Heads, cos = _w.Scratch[worker].Scores, sin = cos + pairs;
        for (int i = 0; i < D; i++) key[i] = column[i * Block];
        _rotary.DeltaAngles(token / _context.Policy.Group - token, cos, sin);
        RotaryEmbedding.Rotate(key, key, D, pairs, cos, sin, 1);
        for (int i = 0; i < D; i++) column[i * Block] = key[i];
    }

    /// <summary>Where a block of the cache lies in the workspace.</summary>
    readonly struct CachedBlock(float* memory, int d, int v)
    {
        public float* KeysTransposed { get; } = memory;                   // [d, 64]

        public float* Keys { get; } = memory + d * Block;                 // [64, v]

        public float* Values { get; } = memory + (d + v) * Block;         // [64, v]

        public float* ValuesTransposed { get; } = memory + (d + 2 * v) * Block; // [d, 64]

        public float* Bias { get; } = memory + (2 * d + 2 * v) * Block;   // [64] in units of log 2

        public static long Count(int d, int v) => (2L * d + 2L * v + 1) * Block;
    }

    CachedBlock Cached(int head, int index) => new(_w.Cache + (head * (long)_context.CachedCount + index) * CachedBlock.Count(D, V), D, V);

    /// <summary>Keys and values of a block, wherever they are; gradients only for those that are trained.</summary>
    readonly ref struct KeyBlockView
    {
        public float* KeysTransposed { get; init; }

        public float* Keys { get; init; }

        public float* Values { get; init; }

        public float* ValuesTransposed { get; init; }

        public float* Bias { get; init; } // null: none
    }

    KeyBlockView View(KeyBlock block, int keyHead)
    {
        if (!block.IsTrained)
        {
            CachedBlock cached = Cached(keyHead, block.Index);
            return new() { KeysTransposed = cached.KeysTransposed, Keys = cached.Keys, Values = cached.Values, ValuesTransposed = cached.ValuesTransposed, Bias = cached.Bias };
        }

        long row = keyHead * (long)_w.PaddedTokens + block.Index * Block, keyRow = KeySet(block) * (long)_c.KeyValueHeadCount * _w.PaddedTokens + row;
        return new() { KeysTransposed = _w.KeysTransposed + keyRow * D, Keys = _w.Keys + keyRow * V, Values = _w.Values + row * V, ValuesTransposed = _w.ValuesTransposed + row * D };
    }

    /// <summary>Trained keys are held once rotated as near ones and, where some query sees them so, once as far ones.</summary>
    static int KeySet(KeyBlock block) => block.Region == Region.Far ? 1 : 0;
}
