using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>
/// Splits text into the pieces that byte-pair merges may not cross. Each is a hand-written scanner for a published pattern, whose
/// alternatives are tried in order at each place; a scanner looks at most once more at what it has passed, so it is linear on any text.
/// </summary>
internal abstract class PreTokenizer
{
    /// <summary>End of the piece that begins at <paramref name="start"/>; always beyond it.</summary>
    public abstract int Next(ReadOnlySpan<char> text, int start);

    /// <summary>End of the characters from <paramref name="i"/> on that are of <paramref name="wanted"/>.</summary>
    protected static int Run(ReadOnlySpan<char> text, int i, CharClass wanted)
    {
        while (i < text.Length && CharClasses.At(text, i, out int width) == wanted) i += width;
        return i;
    }

    /// <summary>\s+(?!\S)|\s+ : white space, of which the last stays with the word that follows.</summary>
    protected static int Spaces(ReadOnlySpan<char> text, int start, int end) => end == text.Length || end == start + 1 ? end : end - 1;

    protected static int SpacesEnd(ReadOnlySpan<char> text, int i)
    {
        while (i < text.Length && CharClasses.IsSpace(CharClasses.At(text, i))) i++;
        return i;
    }

    /// <summary>'s|'t|'re|'ve|'m|'ll|'d after the apostrophe; 0 when there is none.</summary>
    protected static int Contraction(ReadOnlySpan<char> text, int start, bool ignoreCase)
    {
        if (text[start] != '\'' || start + 1 >= text.Length) return 0;
        char a = Fold(text[start + 1]), b = start + 2 < text.Length ? Fold(text[start + 2]) : '\0';
        if (a is 's' or 't' or 'm' or 'd') return start + 2;
        return (a, b) is ('r', 'e') or ('v', 'e') or ('l', 'l') ? start + 3 : 0;

        // U+017F, the long s, is an s to a pattern that ignores case.
        char Fold(char c) => !ignoreCase ? c : c == '\u017F' ? 's' : char.ToLowerInvariant(c);
    }
}

/// <summary>'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+</summary>
internal sealed class Gpt2PreTokenizer : PreTokenizer
{
    public override int Next(ReadOnlySpan<char> text, int start)
    {
        if (Contraction(text, start, ignoreCase: false) is > 0 and int end) return end;
        int i = text[start] == ' ' && start + 1 < text.Length ? start + 1 : start;
        CharClass c = CharClasses.At(text, i);
        return CharClasses.IsSpace(c) ? Spaces(text, start, SpacesEnd(text, start)) : Run(text, i, c);
    }
}

/// <summary>
/// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,D}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
/// with D = 3 for Llama-3 and 1 for Qwen2.
/// </summary>
internal sealed class Llama3PreTokenizer(int digitsMax) : PreTokenizer
{
    public override int Next(ReadOnlySpan<char> text, int start)
    {
        if (Contraction(text, start, ignoreCase: true) is > 0 and int end) return end;

        CharClass c = CharClasses.At(text, start, out int width);
        int second = start + width;
        if (c == CharClass.Letter) return Run(text, start, CharClass.Letter);
        if (c == CharClass.Number)
        {
            int i = second;
            for (int n = 1; n < digitsMax && i < text.Length && CharClasses.At(text, i, out width) == CharClass.Number; n++) i += width;
            return i;
        }
        CharClass next = second < text.Length ? CharClasses.At(text, second) : CharClass.Newline;
        if (c != CharClass.Newline && next == CharClass.Letter) return Run(text, second, CharClass.Letter);
        if (c == CharClass.Other) return Run(text, Run(text, start, CharClass.Other), CharClass.Newline);
        if (text[start] == ' ' && next == CharClass.Other) return Run(text, Run(text, second, CharClass.Other), CharClass.Newline);

        int spaces = SpacesEnd(text, start);
        int newline = text[start..spaces].LastIndexOfAny('\r', '\n');
        return newline >= 0 ? start + newline + 1 : Spaces(text, start, spaces);
    }
}

/// <summary>Isolates runs of the characters that <paramref name="belongs"/> accepts, at most <paramref name="lengthMax"/> long; the rest stays together.</summary>
internal sealed class RunPreTokenizer(Func<Rune, bool> belongs, int lengthMax = int.MaxValue) : PreTokenizer
{
    public static RunPreTokenizer Digits(int lengthMax) => new(Rune.IsNumber, lengthMax);

    /// <summary>[\p{P}\$\+&lt;=&gt;\^~\|]+ of llama.cpp's default.</summary>
    public static RunPreTokenizer Punctuation() => new(r => Rune.IsPunctuation(r) || r.Value is '$' or '+' or '<' or '=' or '>' or '^' or '~' or '|');

    public override int Next(ReadOnlySpan<char> text, int start)
    {
        bool inside = Belongs(text, start, out int width);
        int i = start + width;
        for (int n = 1; i < text.Length && Belongs(text, i, out width) == inside && (!inside || n < lengthMax); n++) i += width;
        return i;
    }

    bool Belongs(ReadOnlySpan<char> text, int i, out int width)
    {
        Rune.DecodeFromUtf16(text[i..], out Rune rune, out width);
        return belongs(rune);
    }
}

/// <summary>[0-9][0-9][0-9]: whole threes are isolated; what is left of a run joins the text beside it.</summary>
internal sealed class DigitTriplePreTokenizer : PreTokenizer
{
    public override int Next(ReadOnlySpan<char> text, int start)
    {
        if (IsTriple(text, start)) return start + 3;
        int i = start + 1;
        while (i < text.Length && !IsTriple(text, i)) i++;
        return i;
    }

    static bool IsTriple(ReadOnlySpan<char> text, int i) =>
        i + 3 <= text.Length && char.IsAsciiDigit(text[i]) && char.IsAsciiDigit(text[i + 1]) && char.IsAsciiDigit(text[i + 2]);
}

/// <summary>White space separates and goes; each punctuation mark stands alone. Used by WordPiece, which asks for the words itself.</summary>
internal static class BertPreTokenizer
{
    public static bool IsPunctuation(Rune rune) =>
        rune.IsAscii ? char.IsPunctuation((char)rune.Value) || char.IsSymbol((char)rune.Value) : Rune.IsPunctuation(rune);
}
