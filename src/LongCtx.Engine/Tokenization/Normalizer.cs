using System.Globalization;
using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>One step that rewrites a stretch of text before it is split; named as in tokenizer.json.</summary>
internal abstract class Normalizer
{
    public abstract NormalizedText Apply(NormalizedText text);
}

internal sealed class NfcNormalizer : Normalizer
{
    public override NormalizedText Apply(NormalizedText text) => UnicodeNormalization.ToNfc(text);
}

internal sealed class NfdNormalizer : Normalizer
{
    public override NormalizedText Apply(NormalizedText text) => UnicodeNormalization.ToNfd(text);
}

internal sealed class LowercaseNormalizer : Normalizer
{
    public override NormalizedText Apply(NormalizedText text)
    {
        NormalizedText.Builder builder = new(text);
        int index = 0;
        foreach (Rune rune in text.Text.EnumerateRunes())
        {
            // The one character whose lower case is longer, and that the simple mapping leaves alone.
            if (rune.Value == 0x130) builder.Append("i\u0307", index);
            else builder.Append(Rune.ToLowerInvariant(rune), index);
            index += rune.Utf16SequenceLength;
        }
        return builder.Build();
    }
}

/// <summary>Drops non-spacing marks; decompose first.</summary>
internal sealed class StripAccentsNormalizer : Normalizer
{
    public override NormalizedText Apply(NormalizedText text)
    {
        NormalizedText.Builder builder = new(text);
        int index = 0;
        foreach (Rune rune in text.Text.EnumerateRunes())
        {
            if (Rune.GetUnicodeCategory(rune) != UnicodeCategory.NonSpacingMark) builder.Append(rune, index);
            index += rune.Utf16SequenceLength;
        }
        return builder.Build();
    }
}

internal sealed class ReplaceNormalizer(string pattern, string content) : Normalizer
{
    public override NormalizedText Apply(NormalizedText text)
    {
        // The usual one, ' ' to '▁', moves nothing.
        if (pattern.Length == content.Length) return text with { Text = text.Text.Replace(pattern, content, StringComparison.Ordinal) };
        if (!text.Text.Contains(pattern, StringComparison.Ordinal)) return text;
        NormalizedText.Builder builder = new(text);
        for (int i = 0; i < text.Text.Length;)
        {
            int hit = text.Text.IndexOf(pattern, i, StringComparison.Ordinal);
            for (int end = hit < 0 ? text.Text.Length : hit; i < end; i++) builder.Append(text.Text.AsSpan(i, 1), i);
            if (hit < 0) break;
            builder.Append(content, hit);
            i = hit + pattern.Length;
        }
        return builder.Build();
    }
}

/// <summary>Puts <paramref name="content"/> before a text that is not empty; with <paramref name="unlessPresent"/>, not before one that begins with it;
/// with <paramref name="onlyFirst"/>, only at the very beginning, not after an added token.</summary>
internal sealed class PrependNormalizer(string content, bool unlessPresent = false, bool onlyFirst = false) : Normalizer
{
    public bool OnlyFirst => onlyFirst;

    public override NormalizedText Apply(NormalizedText text)
    {
        if (text.Text.Length == 0 || (unlessPresent && text.Text.StartsWith(content, StringComparison.Ordinal))) return text;
        int[] origins = new int[content.Length + text.Text.Length];
        for (int i = 0; i < text.Text.Length; i++) origins[content.Length + i] = text.OriginOf(i);
        return new(content + text.Text, origins);
    }
}

/// <summary>The original BERT's text clean-up: control characters out, every white space a blank, CJK ideographs apart.</summary>
internal sealed class BertCleanNormalizer(bool cleanText, bool spaceIdeographs) : Normalizer
{
    public override NormalizedText Apply(NormalizedText text)
    {
        NormalizedText.Builder builder = new(text);
        int index = 0;
        foreach (Rune rune in text.Text.EnumerateRunes())
        {
            if (cleanText && CharClasses.IsSpace(rune)) builder.Append(" ", index);
            else if (cleanText && IsControl(rune)) { }
            else if (spaceIdeographs && IsIdeograph(rune.Value))
            {
                builder.Append(" ", index);
                builder.Append(rune, index);
                builder.Append(" ", index);
            }
            else builder.Append(rune, index);
            index += rune.Utf16SequenceLength;
        }
        return builder.Build();
    }

    static bool IsControl(Rune rune) => rune.Value is 0 or 0xFFFD
        || Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.PrivateUse;

    // The ranges of the published tokenizers, 2B920 (not 2B820) included.
    static bool IsIdeograph(int c) => c is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0xF900 and <= 0xFAFF)
        or (>= 0x20000 and <= 0x2A6DF) or (>= 0x2A700 and <= 0x2B81F) or (>= 0x2B920 and <= 0x2CEAF) or (>= 0x2F800 and <= 0x2FA1F);
}
