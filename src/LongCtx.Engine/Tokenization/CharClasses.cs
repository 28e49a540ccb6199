using System.Globalization;
using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>What the pre-tokenizers' patterns tell apart: \p{L}, \p{N}, \s, [\r\n] (also \s) and the rest.</summary>
internal enum CharClass : byte
{
    Other,
    Letter,
    Number,
    Space,
    Newline,
}

internal static class CharClasses
{
    static readonly CharClass[] Table = [.. Enumerable.Range(0, 0x10000).Select(c => Of(CharUnicodeInfo.GetUnicodeCategory(c), c))];

    /// <summary>Class of the character at <paramref name="index"/> and its width in UTF-16 units.</summary>
    public static CharClass At(ReadOnlySpan<char> text, int index, out int width)
    {
        char c = text[index];
        if (char.IsHighSurrogate(c) && index + 1 < text.Length && char.IsLowSurrogate(text[index + 1]))
        {
            width = 2;
            int scalar = char.ConvertToUtf32(c, text[index + 1]);
            return Of(CharUnicodeInfo.GetUnicodeCategory(scalar), scalar);
        }
        width = 1;
        return Table[c];
    }

    public static CharClass At(ReadOnlySpan<char> text, int index) => At(text, index, out _);

    public static bool IsSpace(CharClass c) => c >= CharClass.Space;

    public static bool IsSpace(Rune rune) => rune.IsBmp && IsSpace(Table[rune.Value]);

    static CharClass Of(UnicodeCategory category, int c) => category switch
    {
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
            or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => CharClass.Letter,
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => CharClass.Number,
        UnicodeCategory.SpaceSeparator or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator => CharClass.Space,
        _ => c switch
        {
            '\r' or '\n' => CharClass.Newline,
            '\t' or '\v' or '\f' or 0x85 => CharClass.Space,
            _ => CharClass.Other,
        },
    };
}
