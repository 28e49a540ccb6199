using System.Buffers;

namespace LongCtx.Engine.Tokenization;

/// <summary>Which neighbouring symbols merge, in which order (lowest rank first), and into what.</summary>
internal interface IMergeRule
{
    /// <param name="left">Symbol ids; -1 is a character without a token.</param>
    /// <param name="start">First UTF-16 unit of the left symbol, where the rule was given text.</param>
    /// <param name="end">End of the right symbol.</param>
    bool TryMerge(int left, int right, int start, int end, out int rank, out int merged);
}

/// <summary>Byte-pair merging: of all pairs the one of lowest rank is merged, leftmost first, until none is left. O(n log n).</summary>
internal static class Merges
{
    /// <summary>Merges <paramref name="ids"/> in place; returns how many symbols remain.</summary>
    /// <param name="ids">Symbols, left to right; on return the merged ones, packed.</param>
    /// <param name="starts">Where each symbol starts, and in the last element where the last one ends: one longer than ids; packed too.</param>
    public static int Apply<TRule>(Span<int> ids, Span<int> starts, TRule rule) where TRule : IMergeRule
    {
        int n = ids.Length;
        if (n < 2) return n;
        int[] rented = ArrayPool<int>.Shared.Rent(4 * n);
        // next[i], previous[i]: neighbours of a live symbol. rank[i], into[i]: the merge of i with its right neighbour now on offer.
        Span<int> next = rented.AsSpan(0, n), previous = rented.AsSpan(n, n), rank = rented.AsSpan(2 * n, n), into = rented.AsSpan(3 * n, n);
        MergeHeap heap = new(n);
        for (int i = 0; i < n; i++)
        {
            next[i] = i + 1;
            previous[i] = i - 1;
        }
        for (int i = 0; i < n; i++) Offer(i, ids, starts, next, rank, into);
        heap.Heapify();

        while (heap.TryPop(out int candidate, out int i))
        {
            if (rank[i] != candidate) continue;
            int right = next[i];
            ids[i] = into[i];
            rank[right] = -1;
            next[i] = next[right];
            if (next[right] < n) previous[next[right]] = i;
            Offer(i, ids, starts, next, rank, into);
            if (previous[i] >= 0) Offer(previous[i], ids, starts, next, rank, into);
        }

        int count = 0;
        for (int i = 0; i < n; i = next[i], count++)
        {
            ids[count] = ids[i];
            starts[count] = starts[i];
        }
        starts[count] = starts[n];
        heap.Dispose();
        ArrayPool<int>.Shared.Return(rented);
        return count;

        void Offer(int i, Span<int> ids, Span<int> starts, Span<int> next, Span<int> rank, Span<int> into)
        {
            int right = next[i];
            rank[i] = -1;
            if (right >= n) return;
            int end = next[right] < n ? starts[next[right]] : starts[n];
            if (rule.TryMerge(ids[i], ids[right], starts[i], end, out int r, out into[i])) heap.Add(rank[i] = r, i);
        }
    }
}

/// <summary>Binary min-heap of (rank, position), packed in one number so that equal ranks come leftmost first.</summary>
internal struct MergeHeap(int capacity)
{
    ulong[] _items = ArrayPool<ulong>.Shared.Rent(capacity);
    int _count;
    bool _ordered;

    public void Add(int rank, int position)
    {
        if (_count == _items.Length)
        {
            ulong[] larger = ArrayPool<ulong>.Shared.Rent(2 * _count);
            _items.CopyTo(larger, 0);
            ArrayPool<ulong>.Shared.Return(_items);
            _items = larger;
        }
        _items[_count++] = ((ulong)(uint)rank << 32) | (uint)position;
        if (_ordered) Up(_count - 1);
    }

    /// <summary>Until now items were only collected.</summary>
    public void Heapify()
    {
        _ordered = true;
        for (int i = _count / 2 - 1; i >= 0; i--) Down(i);
    }

    public bool TryPop(out int rank, out int position)
    {
        if (_count == 0)
        {
            rank = position = 0;
            return false;
        }
        (rank, position) = ((int)(_items[0] >> 32), (int)(uint)_items[0]);
        _items[0] = _items[--_count];
        Down(0);
        return true;
    }

    public void Dispose() => ArrayPool<ulong>.Shared.Return(_items);

    readonly void Up(int i)
    {
        for (int parent = (i - 1) / 2; i > 0 && _items[i] < _items[parent]; i = parent, parent = (i - 1) / 2)
            (_items[i], _items[parent]) = (_items[parent], _items[i]);
    }

    readonly void Down(int i)
    {
        for (int child = 2 * i + 1; child < _count; i = child, child = 2 * i + 1)
        {
            if (child + 1 < _count && _items[child + 1] < _items[child]) child++;
            if (_items[i] <= _items[child]) return;
            (_items[i], _items[child]) = (_items[child], _items[i]);
        }
    }
}

/// <summary>Merges listed in the file: rank is the place in the list.</summary>
internal readonly struct RankedMerges(Dictionary<long, (int Rank, int Merged)> pairs) : IMergeRule
{
    public static long Key(int left, int right) => ((long)left << 32) | (uint)right;

    public bool TryMerge(int left, int right, int start, int end, out int rank, out int merged)
    {
        bool found = pairs.TryGetValue(Key(left, right), out (int Rank, int Merged) pair);
        (rank, merged) = pair;
        return found;
    }
}
