using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>
/// Text to token ids and back. Text is cut at added tokens, each stretch between them is normalised, split and encoded by the model.
/// Immutable after construction and safe for use from many threads.
/// </summary>
public abstract class Tokenizer
{
    readonly Vocabulary _vocabulary;
    readonly Normalizer[] _normalizers;
    readonly AddedTokenMatcher _added, _addedNormalized;
    readonly Dictionary<string, int> _addedIds;
    readonly int[] _prefix, _suffix;

    private protected Tokenizer(TokenizerParts parts)
    {
        _vocabulary = parts.Vocabulary;
        _normalizers = parts.Normalizers;
        _added = new AddedTokenMatcher([.. parts.Added.Where(t => !t.Normalized)]);
        _addedNormalized = new AddedTokenMatcher([.. parts.Added.Where(t => t.Normalized)
            .Select(t => t with { Text = Normalize(t.Text, start: null).Text }).Where(t => t.Text.Length > 0)]);
        _addedIds = parts.Added.ToDictionary(t => t.Text, t => t.Id);
        (_prefix, _suffix) = (parts.Prefix, parts.Suffix);
        BeginOfStream = parts.BeginOfStream;
        EndOfStream = parts.EndOfStream;
        EndOfGeneration = parts.EndOfGeneration;
        ChatTemplate = parts.ChatTemplate;
    }

    public int VocabularySize => _vocabulary.Size;

    public int? BeginOfStream { get; }

    public int? EndOfStream { get; }

    /// <summary>Tokens at which a reply ends: end of stream, end of turn and their like.</summary>
    public IReadOnlySet<int> EndOfGeneration { get; }

    /// <summary>Whether addSpecial puts <see cref="BeginOfStream"/> (for BERT [CLS]) before the text.</summary>
    public bool AddsBeginOfStream => _prefix.Length > 0;

    /// <summary>Source of the chat template that came with the tokenizer, if any.</summary>
    public string? ChatTemplate { get; }

    /// <summary>Whether words carry their own leading blank, so that a text's first one is not part of it (SentencePiece, WordPiece).</summary>
    internal virtual bool StripsLeadingSpace => false;

    /// <param name="text">Any UTF-16; lone surrogates count as U+FFFD.</param>
    /// <param name="parseSpecial">Whether the text of a special token becomes that token; otherwise it is ordinary text.</param>
    /// <param name="addSpecial">Whether to add what the model wants around a text: begin of stream, [CLS] and [SEP].</param>
    public int[] Encode(string text, bool parseSpecial = true, bool addSpecial = false) => EncodeTo(text, parseSpecial, addSpecial, false).Ids();

    /// <param name="text">See the other overload.</param>
    /// <param name="starts">For each token the index in <paramref name="text"/> at which it begins. Tokens that share a character share its
    /// index; an added token before the text has 0, one after it the text's length.</param>
    public int[] Encode(string text, bool parseSpecial, bool addSpecial, out int[] starts)
    {
        TokenSink sink = EncodeTo(text, parseSpecial, addSpecial, true);
        starts = sink.Starts();
        return sink.Ids();
    }

    /// <summary>The exact bytes that the token stands for; they need not be whole characters. A special token gives its name.</summary>
    public ReadOnlySpan<byte> TokenBytes(int id)
    {
        if ((uint)id >= (uint)VocabularySize) throw new ArgumentOutOfRangeException(nameof(id), id, $"Token ids are 0 to {VocabularySize - 1}.");
        return _vocabulary.Bytes(id);
    }

    /// <summary>Text of one token, for templates; empty for none.</summary>
    public string TextOf(int? id) => id is { } token ? Encoding.UTF8.GetString(TokenBytes(token)) : "";

    public bool IsSpecial(int id) => (uint)id < (uint)VocabularySize && _vocabulary.Kind(id) == TokenKind.Special;

    /// <summary>Id of a special or added token by its text.</summary>
    public int? Find(string specialTokenText) => _addedIds.TryGetValue(specialTokenText, out int id) ? id : null;

    public string Decode(ReadOnlySpan<int> ids, bool skipSpecial)
    {
        using MemoryStream bytes = new();
        bool started = false;
        foreach (int id in ids)
        {
            if (skipSpecial && IsSpecial(id)) continue;
            ReadOnlySpan<byte> token = TokenBytes(id);
            if (!started && LeadingSpaceOf(id, token)) token = token[1..];
            started = true;
            bytes.Write(token);
        }
        return Encoding.UTF8.GetString(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
    }

    /// <summary>Whether the first token of a text begins with a blank that is not part of the text.</summary>
    internal bool LeadingSpaceOf(int id, ReadOnlySpan<byte> token) =>
        StripsLeadingSpace && token is [(byte)' ', ..] && _vocabulary.Kind(id) == TokenKind.Normal;

    /// <summary>Encodes a normalised stretch without added tokens; positions are indices into <paramref name="text"/>.</summary>
    private protected abstract void EncodeStretch(ReadOnlySpan<char> text, TokenSink sink);

    TokenSink EncodeTo(string text, bool parseSpecial, bool addSpecial, bool withStarts)
    {
        ArgumentNullException.ThrowIfNull(text);
        text = ReplaceLoneSurrogates(text);
        TokenSink sink = new(withStarts, text.Length / 4 + 8);
        if (addSpecial) foreach (int id in _prefix) sink.Add(id, 0);
        for (int from = 0; from < text.Length;)
        {
            AddedToken? token = _added.Find(text, from, parseSpecial, out int start, out int end);
            if (start > from) EncodeRaw(text, from, start, sink);
            sink.Enter(0, null);
            if (token is not null) sink.Add(token.Id, start);
            from = end;
        }
        if (addSpecial) foreach (int id in _suffix) sink.Add(id, text.Length);
        return sink;
    }

    void EncodeRaw(string text, int start, int end, TokenSink sink)
    {
        if (_normalizers.Length == 0 && _addedNormalized.IsEmpty)
        {
            sink.Enter(start, null);
            EncodeStretch(text.AsSpan(start, end - start), sink);
            return;
        }

        NormalizedText normalized = Normalize(text[start..end], start);
        sink.Enter(start, normalized.Origins);
        for (int from = 0; from < normalized.Text.Length;)
        {
            AddedToken? token = _addedNormalized.Find(normalized.Text, from, special: true, out int tokenStart, out int tokenEnd);
            if (tokenStart > from)
            {
                sink.Enter(start + (normalized.Origins is null ? from : 0), normalized.Origins?[from..]);
                EncodeStretch(normalized.Text.AsSpan(from, tokenStart - from), sink);
            }
            if (token is not null)
            {
                sink.Enter(start, normalized.Origins);
                sink.Add(token.Id, tokenStart);
            }
            from = tokenEnd;
        }
    }

    /// <param name="text">A stretch.</param>
    /// <param name="start">Where it begins in the whole text; null for what is no text of its own and gets no prefix.</param>
    NormalizedText Normalize(string text, int? start)
    {
        NormalizedText normalized = new(text, null);
        foreach (Normalizer n in _normalizers)
            if (n is not PrependNormalizer prepend || start == 0 || (start > 0 && !prepend.OnlyFirst)) normalized = n.Apply(normalized);
        return normalized;
    }

    static string ReplaceLoneSurrogates(string text)
    {
        int lone = IndexOfLoneSurrogate(text, 0);
        if (lone < 0) return text;
        char[] chars = text.ToCharArray();
        for (; lone >= 0; lone = IndexOfLoneSurrogate(chars, lone + 1)) chars[lone] = '\uFFFD';
        return new string(chars);
    }

    static int IndexOfLoneSurrogate(ReadOnlySpan<char> text, int from)
    {
        for (int i = from; ; i += 2)
        {
            int hit = i < text.Length ? text[i..].IndexOfAnyInRange('\uD800', '\uDFFF') : -1;
            if (hit < 0) return -1;
            i += hit;
            if (i + 1 >= text.Length || !char.IsSurrogatePair(text[i], text[i + 1])) return i;
        }
    }
}
