using LongCtx.Engine.Cache;

namespace LongCtx.Engine.Scheduling;

/// <summary>
/// Forks of a sequence's cache from when a chunk was about to begin, so that the chunk can be learned against what its tokens saw: the blocks stay while their fork
/// does. Engine thread only.
/// </summary>
internal sealed class ChunkPins
{
    /// <summary>The chunk that is being filled, and one that waits to be learned.</summary>
    const int Max = 2;

    readonly SortedDictionary<long, KvSequence> _forks = [];
    long _next = long.MaxValue;
    int _chunk;

    /// <param name="first">Where the next chunk begins; a token before it has been computed then.</param>
    /// <param name="chunk">Tokens of a chunk; 0: there are none to come.</param>
    public void Set(long first, int chunk)
    {
        foreach (long at in _forks.Keys.Where(at => chunk == 0 || (at - first) % chunk != 0).ToArray()) Drop(at);
        (_chunk, _next) = (chunk, chunk == 0 ? long.MaxValue : first);
    }

    /// <summary>Forks a cache that stands where a chunk begins; how many tokens it may take until the next one does.</summary>
    /// <param name="cache">Of the sequence.</param>
    /// <param name="hasRoom">Whether what runs has the blocks that it may need when the pinned ones are not given back.</param>
    public int Advance(KvSequence cache, Func<bool> hasRoom)
    {
        if (_chunk == 0) return int.MaxValue;
        while (_next < cache.Count) _next += _chunk;
        if (_next > cache.Count) return (int)Math.Min(_next - cache.Count, int.MaxValue);
        if (!_forks.ContainsKey(_next) && cache.Count >= cache.Policy.Sinks)
        {
            _forks.Add(_next, cache.Fork());
            if (_forks.Count > Max) Drop(_forks.First().Key);
            if (!hasRoom()) Drop(_next);
        }

        _next += _chunk;
        return _chunk;
    }

    /// <summary>The fork from a token on, which is the caller's now; null when there is none.</summary>
    public KvSequence? Take(long at)
    {
        foreach (long older in _forks.Keys.Where(k => k < at).ToArray()) Drop(older);
        return _forks.Remove(at, out KvSequence? fork) ? fork : null;
    }

    /// <summary>Tokens from <paramref name="length"/> on are other ones now.</summary>
    public void Truncate(long length)
    {
        foreach (long at in _forks.Keys.Where(at => at > length).ToArray()) Drop(at);
        if (_chunk > 0) while (_next - _chunk > length) _next -= _chunk;
    }

    public void Clear()
    {
        foreach (long at in _forks.Keys.ToArray()) Drop(at);
        (_chunk, _next) = (0, long.MaxValue);
    }

    void Drop(long at)
    {
        _forks.Remove(at, out KvSequence? fork);
        fork?.Dispose();
    }
}
