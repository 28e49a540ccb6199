using System.Buffers;
using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>SentencePiece BPE (Llama-2, Mistral, TinyLlama): merges over characters, blanks as '▁', bytes for characters without a token.</summary>
internal sealed class SentencePieceTokenizer<TRule> : Tokenizer where TRule : IMergeRule
{
    readonly SentencePieceModel _model;
    readonly Func<ReadOnlyMemory<char>, TRule> _rule;
    readonly WordCache _cache = new();

    /// <param name="parts">Tokens and what surrounds them; normalisers have already made '▁' of blanks.</param>
    /// <param name="model">Vocabulary lookup.</param>
    /// <param name="rule">The merge rule for a text.</param>
    public SentencePieceTokenizer(TokenizerParts parts, SentencePieceModel model, Func<ReadOnlyMemory<char>, TRule> rule) : base(parts) =>
        (_model, _rule) = (model, rule);

    internal override bool StripsLeadingSpace => _model.StripsLeadingSpace;

    private protected override void EncodeStretch(ReadOnlySpan<char> text, TokenSink sink)
    {
        for (int i = 0, end; i < text.Length; i = end)
        {
            end = WordEnd(text, i);
            EncodeWord(text[i..end], i, sink);
        }
    }

    /// <summary>No token has a '▁' behind another character, so no merge crosses such a place: words can be merged one by one.</summary>
    int WordEnd(ReadOnlySpan<char> text, int start)
    {
        if (_model.Boundary == WordBoundary.None) return text.Length;
        int i = start + 1;
        while (i < text.Length && !(text[i] == '▁' && (_model.Boundary == WordBoundary.EachMarker || text[i - 1] != '▁'))) i++;
        return i;
    }

    void EncodeWord(ReadOnlySpan<char> word, int position, TokenSink sink)
    {
        if (!sink.WithStarts && _cache.TryGet(word, out int[] cached))
        {
            sink.Add(cached);
            return;
        }

        char[] text = word.ToArray();
        int[] ids = ArrayPool<int>.Shared.Rent(2 * word.Length + 1);
        Span<int> symbols = ids.AsSpan(0, word.Length), starts = ids.AsSpan(word.Length, word.Length + 1);
        int n = 0;
        for (int i = 0, width; i < word.Length; i += width, n++)
        {
            width = char.IsHighSurrogate(word[i]) ? 2 : 1;
            symbols[n] = _model.Lookup(word.Slice(i, width));
            starts[n] = i;
        }
        starts[n] = word.Length;
        n = Merges.Apply(symbols[..n], starts[..(n + 1)], _rule(text));

        List<int> result = new(n);
        Span<byte> utf8 = stackalloc byte[4];
        bool unknownBefore = false;
        for (int s = 0; s < n; s++)
        {
            if (symbols[s] >= 0) Add(symbols[s], starts[s]);
            else
            {
                Rune.DecodeFromUtf16(word[starts[s]..], out Rune rune, out _);
                ReadOnlySpan<byte> bytes = utf8[..rune.EncodeToUtf8(utf8)];
                if (_model.HasBytes(bytes)) foreach (byte b in bytes) Add(_model.ByteIds![b], starts[s]);
                else if (_model.Unknown is { } unknown)
                {
                    if (!(unknownBefore && _model.FuseUnknown)) Add(unknown, starts[s]);
                    unknownBefore = true;
                    continue;
                }
            }
            unknownBefore = false;
        }
        ArrayPool<int>.Shared.Return(ids);
        if (!sink.WithStarts) _cache.Set(word, [.. result]);

        void Add(int id, int start)
        {
            result.Add(id);
            sink.Add(id, position + start);
        }
    }
}

internal enum WordBoundary
{
    None,

    /// <summary>A '▁' that follows another character begins a word.</summary>
    MarkerRun,

    /// <summary>Every '▁' begins a word (Metaspace with split).</summary>
    EachMarker,
}

/// <param name="Tokens">Ids of the tokens that text may become, by their text with '▁'.</param>
/// <param name="ByteIds">Token of each byte value, -1 where missing; null without byte fallback.</param>
internal sealed record SentencePieceModel(
    Dictionary<string, int> Tokens, int[]? ByteIds, int? Unknown, bool FuseUnknown, WordBoundary Boundary, bool StripsLeadingSpace)
{
    readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup = Tokens.GetAlternateLookup<ReadOnlySpan<char>>();

    public int TextLengthMax { get; } = Tokens.Count == 0 ? 0 : Tokens.Keys.Max(t => t.Length);

    public int Lookup(ReadOnlySpan<char> text) => text.Length <= TextLengthMax && _lookup.TryGetValue(text, out int id) ? id : -1;

    public bool HasBytes(ReadOnlySpan<byte> bytes)
    {
        if (ByteIds is null) return false;
        foreach (byte b in bytes)
            if (ByteIds[b] < 0) return false;
        return true;
    }

    /// <summary>Whether words may be cut at '▁' without changing a result.</summary>
    public static WordBoundary BoundaryOf(IEnumerable<string> tokens) =>
        tokens.Any(t => t.AsSpan().TrimStart('▁').Contains('▁')) ? WordBoundary.None : WordBoundary.MarkerRun;
}

/// <summary>Merges of a vocabulary with scores (GGUF "llama"): any two neighbours whose joined text is a token, best score first.</summary>
internal readonly struct ScoredMerges(SentencePieceModel model, int[] rankOfId, ReadOnlyMemory<char> text) : IMergeRule
{
    public bool TryMerge(int left, int right, int start, int end, out int rank, out int merged)
    {
        merged = model.Lookup(text.Span[start..end]);
        rank = merged >= 0 ? rankOfId[merged] : 0;
        return merged >= 0;
    }
}
