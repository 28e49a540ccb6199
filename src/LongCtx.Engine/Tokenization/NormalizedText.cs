using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>A stretch of text on its way through the normalisers.</summary>
/// <param name="Text">The text as normalised so far.</param>
/// <param name="Origins">For each char the index of the char it came from in the text before all normalisers, never falling; null is identity.</param>
internal readonly record struct NormalizedText(string Text, int[]? Origins)
{
    public int OriginOf(int index) => Origins is null ? index : Origins[index];

    /// <summary>Collects the output of one normaliser.</summary>
    public sealed class Builder(NormalizedText source)
    {
        readonly StringBuilder _text = new(source.Text.Length + 16);
        readonly List<int> _origins = new(source.Text.Length + 16);

        /// <summary>Appends a character that stems from <paramref name="index"/> of the source.</summary>
        public void Append(Rune rune, int index)
        {
            Span<char> utf16 = stackalloc char[2];
            Append(utf16[..rune.EncodeToUtf16(utf16)], index);
        }

        public void Append(ReadOnlySpan<char> text, int index)
        {
            _text.Append(text);
            for (int i = 0; i < text.Length; i++) _origins.Add(source.OriginOf(index));
        }

        public NormalizedText Build() => new(_text.ToString(), [.. _origins]);
    }
}
