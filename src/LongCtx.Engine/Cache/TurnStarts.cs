namespace LongCtx.Engine.Cache;

/// <summary>Indices at which the turns of a chat begin, ascending. Those that have left every window are forgotten, so that it stays small.</summary>
public sealed class TurnStarts
{
    /// <summary>Turns before the window that are kept, so that the end of a sequence can be undone.</summary>
    const int KeptBefore = 64;

    readonly List<long> _starts = [];

    public TurnStarts()
    {
    }

    /// <summary>From what <see cref="ToArray"/> gave.</summary>
    /// <param name="starts">Ascending; an index that is not above the one before it is passed over.</param>
    public TurnStarts(IEnumerable<long> starts)
    {
        foreach (long start in starts) Add(start);
    }

    public int Count => _starts.Count;

    /// <summary>Changes with every change of the indices.</summary>
    internal int Version { get; private set; }

    public void Add(long index)
    {
        if (_starts.Count > 0 && index <= _starts[^1]) return;
        _starts.Add(index);
        Version++;
    }

    /// <summary>The first turn start at or after <paramref name="index"/>, or -1.</summary>
    public long FirstAtOrAfter(long index)
    {
        int at = _starts.BinarySearch(index);
        if (at < 0) at = ~at;
        return at < _starts.Count ? _starts[at] : -1;
    }

    public void ForgetBefore(long index)
    {
        int count = 0;
        while (count < _starts.Count && _starts[count] < index) count++;
        if (count <= 2 * KeptBefore) return; // in bulk: a list shifts on removal
        _starts.RemoveRange(0, count - KeptBefore);
        Version++;
    }

    /// <summary>Forgets the turns at or after <paramref name="index"/>: they were undone.</summary>
    public void Truncate(long index)
    {
        while (_starts.Count > 0 && _starts[^1] >= index)
        {
            _starts.RemoveAt(_starts.Count - 1);
            Version++;
        }
    }

    public long[] ToArray() => [.. _starts];

    public TurnStarts Copy() => new(_starts);
}
