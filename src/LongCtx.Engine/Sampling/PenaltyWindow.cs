namespace LongCtx.Engine.Sampling;

/// <summary>The newest tokens of a sequence, prompt included: what the penalties look at. Rebuilt from the token log, never stored.</summary>
public sealed class PenaltyWindow
{
    const int Capacity = SamplingOptions.PenaltyWindowMax;

    readonly int[] _ring = new int[Capacity];
    long _total;

    public PenaltyWindow()
    {
    }

    /// <summary>The window after these tokens; only the last 1,024 of them matter.</summary>
    public PenaltyWindow(ReadOnlySpan<int> tokens)
    {
        foreach (int token in tokens[Math.Max(0, tokens.Length - Capacity)..]) Add(token);
    }

    PenaltyWindow(PenaltyWindow other)
    {
        other._ring.CopyTo(_ring, 0);
        _total = other._total;
    }

    /// <summary>Tokens held; at most 1,024.</summary>
    public int Count => (int)Math.Min(_total, Capacity);

    public void Add(int token) => _ring[_total++ % Capacity] = token;

    public PenaltyWindow Fork() => new(this);

    /// <summary>The newest <paramref name="count"/> tokens, or all there are, in two pieces and in no order that matters.</summary>
    internal void Newest(int count, out ReadOnlySpan<int> first, out ReadOnlySpan<int> second)
    {
        count = Math.Min(count, Count);
        int end = (int)(_total % Capacity), tail = Math.Min(count, end);
        first = _ring.AsSpan(end - tail, tail);
        second = _ring.AsSpan(Capacity - (count - tail), count - tail);
    }
}
