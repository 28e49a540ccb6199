namespace LongCtx.Engine.Cache;

/// <summary>Indices at which the turns of a chat begin, ascending. Those that have left every window are forgotten, so that it stays small.</summary>
public sealed class TurnStarts
{
    readonly List<long> _starts = [];

    public int Count => _starts.Count;

    public void Add(long index)
    {
        if (_starts.Count > 0 && index <= _starts[^1]) return;
        _starts.Add(index);
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
        if (count > 64) _starts.RemoveRange(0, count); // in bulk: a list shifts on removal
    }

    /// <summary>Forgets the turns at or after <paramref name="index"/>: they were undone.</summary>
    public void Truncate(long index)
    {
        while (_starts.Count > 0 && _starts[^1] >= index) _starts.RemoveAt(_starts.Count - 1);
    }

    public TurnStarts Copy()
    {
        var copy = new TurnStarts();
        copy._starts.AddRange(_starts);
        return copy;
    }
}
