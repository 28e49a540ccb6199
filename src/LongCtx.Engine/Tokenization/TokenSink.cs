namespace LongCtx.Engine.Tokenization;

/// <summary>Collects the tokens of one text and, where asked for, the index of the UTF-16 unit in the text at which each begins.</summary>
internal sealed class TokenSink(bool withStarts, int capacity)
{
    readonly List<int> _ids = new(capacity);
    readonly List<int> _starts = withStarts ? new(capacity) : [];
    int[]? _origins;
    int _offset;

    public bool WithStarts => withStarts;

    /// <summary>Positions given from now on are those of a normalised stretch that begins at <paramref name="offset"/> of the text.</summary>
    public void Enter(int offset, int[]? origins) => (_offset, _origins) = (offset, origins);

    public void Add(int id, int position)
    {
        _ids.Add(id);
        if (withStarts) _starts.Add(_offset + (_origins is null ? position : _origins[position]));
    }

    /// <summary>All at once, for words whose positions nobody wants.</summary>
    public void Add(ReadOnlySpan<int> ids) => _ids.AddRange(ids);

    public int[] Ids() => [.. _ids];

    public int[] Starts() => [.. _starts];
}
