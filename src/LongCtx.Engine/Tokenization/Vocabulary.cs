using System.Text;

namespace LongCtx.Engine.Tokenization;

internal enum TokenKind : byte
{
    /// <summary>No token has this id: vocabularies have gaps.</summary>
    Missing,
    Normal,

    /// <summary>Found in the text before anything else, but plain text: shown, and not for the model's control.</summary>
    Added,

    /// <summary>Control token.</summary>
    Special,
}

/// <summary>What each id stands for. Immutable; the bytes of all tokens lie in one array.</summary>
internal sealed class Vocabulary
{
    readonly byte[] _bytes;
    readonly int[] _starts;
    readonly TokenKind[] _kinds;

    public Vocabulary(IReadOnlyList<byte[]?> tokens, TokenKind[] kinds)
    {
        _starts = new int[tokens.Count + 1];
        _kinds = kinds;
        for (int i = 0; i < tokens.Count; i++) _starts[i + 1] = _starts[i] + (tokens[i]?.Length ?? 0);
        _bytes = new byte[_starts[^1]];
        for (int i = 0; i < tokens.Count; i++) tokens[i]?.CopyTo(_bytes, _starts[i]);
    }

    public int Size => _kinds.Length;

    public ReadOnlySpan<byte> Bytes(int id) => _bytes.AsSpan(_starts[id], _starts[id + 1] - _starts[id]);

    public TokenKind Kind(int id) => _kinds[id];
}

/// <summary>A token that is looked for in the text before it is split: special tokens, and what users added.</summary>
/// <param name="SingleWord">Only where no word character touches it.</param>
/// <param name="LeftStrip">Takes the white space before it along; <paramref name="RightStrip"/> that after it.</param>
/// <param name="Normalized">Looked for in the normalised text.</param>
internal sealed record AddedToken(
    int Id, string Text, bool Special, bool SingleWord = false, bool LeftStrip = false, bool RightStrip = false, bool Normalized = false);

/// <summary>Finds added tokens in a text: leftmost first, the longest where several begin at the same place.</summary>
internal sealed class AddedTokenMatcher
{
    readonly Dictionary<(int Node, char Next), int> _edges = [];
    readonly List<AddedToken?> _ends = [null];
    readonly System.Buffers.SearchValues<char> _first;

    public AddedTokenMatcher(IReadOnlyCollection<AddedToken> tokens)
    {
        foreach (AddedToken token in tokens)
        {
            int node = 0;
            foreach (char c in token.Text)
            {
                if (!_edges.TryGetValue((node, c), out int child))
                {
                    _edges.Add((node, c), child = _ends.Count);
                    _ends.Add(null);
                }
                node = child;
            }
            _ends[node] = token;
        }
        _first = System.Buffers.SearchValues.Create([.. tokens.Select(t => t.Text[0]).Distinct()]);
        IsEmpty = tokens.Count == 0;
    }

    public bool IsEmpty { get; }

    /// <summary>The next added token of text[from..]: the span that it takes, stripped white space included.</summary>
    public AddedToken? Find(ReadOnlySpan<char> text, int from, bool special, out int start, out int end)
    {
        for (int i = from; ; i++)
        {
            int hit = IsEmpty ? -1 : text[i..].IndexOfAny(_first);
            if (hit < 0)
            {
                start = end = text.Length;
                return null;
            }
            i += hit;
            if (LongestAt(text, i, special) is not { } token) continue;
            (start, end) = (i, i + token.Text.Length);
            if (token.LeftStrip) while (start > from && char.IsWhiteSpace(text[start - 1])) start--;
            if (token.RightStrip) while (end < text.Length && char.IsWhiteSpace(text[end])) end++;
            return token;
        }
    }

    AddedToken? LongestAt(ReadOnlySpan<char> text, int start, bool special)
    {
        AddedToken? longest = null;
        for (int i = start, node = 0; i < text.Length && _edges.TryGetValue((node, text[i]), out node); i++)
            if (_ends[node] is { } token && (special || !token.Special) && (!token.SingleWord || StandsAlone(text, start, i + 1)))
                longest = token;
        return longest;
    }

    static bool StandsAlone(ReadOnlySpan<char> text, int start, int end)
    {
        return !((start > 0 && IsWord(text[start - 1])) || (end < text.Length && IsWord(text[end])));

        static bool IsWord(char c) => c == '_' || Rune.IsLetterOrDigit(new Rune(char.IsSurrogate(c) ? ' ' : c));
    }
}
