using System.Text;

namespace LongCtx.Engine.Tests.Tokenization;

/// <summary>Short random texts in which everything that a tokenizer tells apart comes up.</summary>
internal static class RandomText
{
    static readonly string[] Pieces =
    [
        "the", "Hello", "'s", "'ll", "'LL", "'ſ", "don't", " ", "  ", "\t", "\n", "\r\n", "\u00A0", "\u3000", "\u2028", "1", "1984", "½", "Ⅷ", "١٢", "𝟙", ".", "...", "!?",
        "$", "_", "<|im_end|>", "<|im", "é", "e\u0301", "\u0301", "ß", "İ", "Ω", "日本", "ひらがな", "한국", "𐐷", "🌍", "👩\u200D👧", "\u200B", "\uFFFD", "\u0001", "\u0004", "\uE000", "\U000F0001",
    ];

    public static string Next(Random random)
    {
        StringBuilder text = new();
        for (int n = random.Next(40); n > 0; n--)
        {
            if (random.Next(5) > 0) text.Append(Pieces[random.Next(Pieces.Length)]);
            else if (Rune.TryCreate(random.Next(0x110000), out Rune rune)) text.Append(rune.ToString());
        }
        return text.ToString();
    }

    public static string WithoutDroppedBytes(string text) =>
        string.Concat(text.EnumerateRunes().Where(r => r.Value is not (4 or 6 or 0x13 or 0x14 or 0x16 or 0x1D) and not (>= 0x40000 and < 0xC0000)));

    /// <summary>Runs a property for some seeds; a failure names its seed.</summary>
    public static void ForSeeds(int count, Action<Random> property)
    {
        for (int seed = 0; seed < count; seed++)
        {
            try
            {
                property(new Random(seed));
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"Fails for seed {seed}: {e.Message}", e);
            }
        }
    }
}
