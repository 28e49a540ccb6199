using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>Byte-pair encoding over the UTF-8 bytes of each piece (GPT-2, Llama-3, Qwen, SmolLM).</summary>
internal sealed class ByteLevelBpeTokenizer : Tokenizer
{
    readonly PreTokenizer[] _stages;
    readonly int[] _byteIds;
    readonly RankedMerges _merges;
    readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>>? _wholePieces;
    readonly int? _unknown;
    readonly bool _fuseUnknown;
    readonly WordCache _cache = new();

    /// <param name="parts">Tokens and what surrounds them.</param>
    /// <param name="stages">Pre-tokenizers; each splits the pieces of the one before it.</param>
    /// <param name="byteIds">Token of each byte value; -1 where the vocabulary has none: such bytes become <paramref name="unknown"/> or vanish.</param>
    /// <param name="merges">Merge list.</param>
    /// <param name="wholePieces">Tokens by their text when a piece that is a token needs no merges (ignore_merges).</param>
    public ByteLevelBpeTokenizer(
        TokenizerParts parts, PreTokenizer[] stages, int[] byteIds, RankedMerges merges, Dictionary<string, int>? wholePieces,
        int? unknown = null, bool fuseUnknown = false)
        : base(parts)
    {
        (_stages, _byteIds, _merges, _unknown, _fuseUnknown) = (stages, byteIds, merges, unknown, fuseUnknown);
        _wholePieces = wholePieces?.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    private protected override void EncodeStretch(ReadOnlySpan<char> text, TokenSink sink) => Split(text, 0, 0, sink);

    void Split(ReadOnlySpan<char> text, int stage, int position, TokenSink sink)
    {
        if (stage == _stages.Length)
        {
            EncodePiece(text, position, sink);
            return;
        }
        for (int i = 0, end; i < text.Length; i = end)
        {
            end = _stages[stage].Next(text, i);
            Split(text[i..end], stage + 1, position + i, sink);
        }
    }

    void EncodePiece(ReadOnlySpan<char> piece, int position, TokenSink sink)
    {
        if (!_cache.TryGet(piece, out int[] ids))
        {
            ids = Merge(piece);
            _cache.Set(piece, ids);
        }
        if (sink.WithStarts) AddWithStarts(ids, piece, position, sink);
        else sink.Add(ids);
    }

    int[] Merge(ReadOnlySpan<char> piece)
    {
        if (_wholePieces is { } whole && whole.TryGetValue(piece, out int id)) return [id];
        byte[] bytes = new byte[Encoding.UTF8.GetByteCount(piece)];
        Encoding.UTF8.GetBytes(piece, bytes);
        int[] ids = new int[bytes.Length];
        int n = 0;
        foreach (byte b in bytes)
        {
            int token = _byteIds[b];
            if (token < 0 && _unknown is { } unknown && !(_fuseUnknown && n > 0 && ids[n - 1] == unknown)) token = unknown;
            if (token >= 0) ids[n++] = token;
        }
        // Positions inside the piece are found again from the tokens' lengths; the merge rule does not ask for them.
        n = Merges.Apply(ids.AsSpan(0, n), new int[n + 1], _merges);
        return ids[..n];
    }

    /// <summary>Walks tokens and characters side by side: a token begins in the character that holds its first byte.</summary>
    void AddWithStarts(int[] ids, ReadOnlySpan<char> piece, int position, TokenSink sink)
    {
        Span<byte> utf8 = stackalloc byte[4];
        int token = 0, left = 0;
        for (int i = 0, width; i < piece.Length; i += width)
        {
            Rune.DecodeFromUtf16(piece[i..], out Rune rune, out width);
            foreach (byte b in utf8[..rune.EncodeToUtf8(utf8)])
            {
                if (left > 0) left--;
                else if (token < ids.Length && (_byteIds[b] >= 0 || ids[token] == _unknown || TokenBytes(ids[token])[0] == b))
                {
                    left = ids[token] == _unknown && _byteIds[b] < 0 ? 0 : TokenBytes(ids[token]).Length - 1;
                    sink.Add(ids[token++], position + i);
                }
            }
        }
    }
}
