using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>WordPiece (BERT): words at white space and punctuation, each cut greedily into its longest known pieces.</summary>
/// <param name="parts">Tokens and what surrounds them.</param>
/// <param name="starts">Pieces that begin a word.</param>
/// <param name="continuations">Pieces inside a word, without their "##".</param>
/// <param name="unknown">What a word becomes that cannot be cut into known pieces, or is too long.</param>
/// <param name="wordLengthMax">Characters.</param>
internal sealed class WordPieceTokenizer(
    TokenizerParts parts, Dictionary<string, int> starts, Dictionary<string, int> continuations, int unknown, int wordLengthMax) : Tokenizer(parts)
{
    readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>>
        _starts = starts.GetAlternateLookup<ReadOnlySpan<char>>(), _continuations = continuations.GetAlternateLookup<ReadOnlySpan<char>>();

    internal override bool StripsLeadingSpace => true;

    private protected override void EncodeStretch(ReadOnlySpan<char> text, TokenSink sink)
    {
        int start = 0;
        for (int i = 0, width; i < text.Length; i += width)
        {
            Rune.DecodeFromUtf16(text[i..], out Rune rune, out width);
            bool space = CharClasses.IsSpace(rune), mark = BertPreTokenizer.IsPunctuation(rune);
            if (!space && !mark) continue;
            EncodeWord(text, start, i, sink);
            if (mark) EncodeWord(text, i, i + width, sink);
            start = i + width;
        }
        EncodeWord(text, start, text.Length, sink);
    }

    void EncodeWord(ReadOnlySpan<char> text, int start, int end, TokenSink sink)
    {
        if (end == start) return;
        // A word of at most wordLengthMax characters has at most that many pieces.
        if (end - start > 2 * wordLengthMax || CharacterCount(text[start..end]) > wordLengthMax)
        {
            sink.Add(unknown, start);
            return;
        }
        List<(int Id, int Start)> pieces = [];
        for (int i = start, next; i < end; i = next)
        {
            int id = -1;
            for (next = end; next > i; next--)
                if ((i == start ? _starts : _continuations).TryGetValue(text[i..next], out id)) break;
            if (next == i)
            {
                sink.Add(unknown, start);
                return;
            }
            pieces.Add((id, i));
        }
        foreach ((int id, int at) in pieces) sink.Add(id, at);
    }

    static int CharacterCount(ReadOnlySpan<char> word)
    {
        int count = 0;
        foreach (Rune _ in word.EnumerateRunes()) count++;
        return count;
    }
}
