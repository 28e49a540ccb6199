namespace LongCtx.Engine.Sampling;

/// <summary>
/// Finds stop texts in a text that comes in pieces. Holds back only what may be the beginning of a stop text; a stop text itself is never
/// let through. The stop text that is complete first ends the reply, of several complete at once the longest: so the result does not
/// depend on how the text is cut into pieces. Comparison is ordinal.
/// </summary>
public sealed class StopMatcher
{
    readonly string[] _stops;
    readonly int _longest;
    string _held = "";

    public StopMatcher(IReadOnlyList<string> stops)
    {
        _stops = [.. stops];
        foreach (string stop in _stops)
        {
            if (string.IsNullOrEmpty(stop)) throw new LongCtxException(ErrorCode.InvalidRequest, "stop must not hold an empty text.", "stop");
            if (char.IsLowSurrogate(stop[0])) throw new LongCtxException(ErrorCode.InvalidRequest, "stop must not begin inside a character (a lone surrogate).", "stop");
            _longest = Math.Max(_longest, stop.Length);
        }
    }

    /// <summary>The stop text that was found; null as long as none was.</summary>
    public string? Matched { get; private set; }

    /// <summary>Characters let through so far. After a match: where the stop text begins in the whole text.</summary>
    public long Position { get; private set; }

    /// <summary>Takes the next piece and returns what has become final; empty after a match.</summary>
    public string Push(string delta)
    {
        if (Matched is not null) return "";
        if (_stops.Length == 0) return Let(delta, delta.Length);
        string text = _held + delta;
        for (int end = _held.Length + 1; end <= text.Length; end++)
        {
            if (CompleteAt(text.AsSpan(0, end)) is not { } stop) continue;
            Matched = stop;
            return Let(text, end - stop.Length);
        }
        return Let(text, text.Length - Open(text));
    }

    /// <summary>The end of the text: what is still held is no stop text after all.</summary>
    public string Flush() => Matched is null ? Let(_held, _held.Length) : "";

    string Let(string text, int length)
    {
        _held = Matched is null ? text[length..] : "";
        Position += length;
        return text[..length];
    }

    // A stop text never reaches back past the held text: a longer beginning of it would have been held.
    string? CompleteAt(ReadOnlySpan<char> text)
    {
        string? longest = null;
        foreach (string stop in _stops)
            if (stop.Length > (longest?.Length ?? 0) && text.EndsWith(stop, StringComparison.Ordinal)) longest = stop;
        return longest;
    }

    // Length of the longest end of the text that begins a stop text.
    int Open(ReadOnlySpan<char> text)
    {
        for (int length = Math.Min(text.Length, _longest - 1); length > 0; length--)
            foreach (string stop in _stops)
                if (stop.Length > length && stop.AsSpan(0, length).SequenceEqual(text[^length..])) return length;
        return 0;
    }
}
