namespace LongCtx.Engine.Sampling;

/// <summary>
/// The newest tokens of a sequence, prompt included: what the penalties look at. As many again are kept behind those, so that the end of a
/// reply can be taken back.
/// </summary>
public sealed class PenaltyWindow
{
    const int Capacity = SamplingOptions.PenaltyWindowMax;
    const int HeldMax = 2 * Capacity;

    readonly int[] _ring = new int[HeldMax];
    long _total;
    long _oldest; // index of the oldest token held

    public PenaltyWindow()
    {
    }

    /// <summary>The window after these tokens; only the last 1,024 of them matter.</summary>
    public PenaltyWindow(ReadOnlySpan<int> tokens) : this(tokens, tokens.Length)
    {
    }

    /// <summary>The window of a sequence of <paramref name="total"/> tokens that ends with <paramref name="newest"/>.</summary>
    public PenaltyWindow(ReadOnlySpan<int> newest, long total)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(total, newest.Length);
        _total = _oldest = total - newest.Length;
        foreach (int token in newest) Add(token);
    }

    PenaltyWindow(PenaltyWindow other)
    {
        other._ring.CopyTo(_ring, 0);
        (_total, _oldest) = (other._total, other._oldest);
    }

    /// <summary>Tokens that penalties may look at; at most 1,024.</summary>
    public int Count => (int)Math.Min(_total - _oldest, Capacity);

    public void Add(int token)
    {
        _ring[_total++ % HeldMax] = token;
        _oldest = Math.Max(_oldest, _total - HeldMax);
    }

    /// <summary>Takes back the newest <paramref name="count"/> tokens. False, and nothing changed, when the window they leave is not known.</summary>
    public bool TryTruncate(int count)
    {
        if (_oldest > Math.Max(0, _total - count - Capacity)) return false;
        _total -= count;
        return true;
    }

    public PenaltyWindow Fork() => new(this);

    /// <summary>All that is held, oldest first: at most 2,048 tokens.</summary>
    public int[] ToArray()
    {
        var tokens = new int[_total - _oldest];
        for (int i = 0; i < tokens.Length; i++) tokens[i] = _ring[(_oldest + i) % HeldMax];
        return tokens;
    }

    /// <summary>Whether these are the newest tokens; those that are no longer held are not looked at.</summary>
    public bool EndsWith(ReadOnlySpan<int> tokens)
    {
        if (tokens.Length > _total) return false;
        for (int i = 1; i <= Math.Min(tokens.Length, _total - _oldest); i++)
            if (tokens[^i] != _ring[(_total - i) % HeldMax]) return false;
        return true;
    }

    /// <summary>The newest <paramref name="count"/> tokens, or all there are, in two pieces and in no order that matters.</summary>
    internal void Newest(int count, out ReadOnlySpan<int> first, out ReadOnlySpan<int> second)
    {
        count = Math.Min(count, Count);
        int end = (int)(_total % HeldMax), tail = Math.Min(count, end);
        first = _ring.AsSpan(end - tail, tail);
        second = _ring.AsSpan(HeldMax - (count - tail), count - tail);
    }
}
