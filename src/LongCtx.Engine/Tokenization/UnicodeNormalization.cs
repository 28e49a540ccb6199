using System.Buffers;
using System.Globalization;
using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>Canonical normalisation (NFD, NFC) from own tables: string.Normalize does nothing under InvariantGlobalization.</summary>
internal static partial class UnicodeNormalization
{
    const int HangulS = 0xAC00, HangulL = 0x1100, HangulV = 0x1161, HangulT = 0x11A7, VCount = 21, TCount = 28, SCount = 19 * VCount * TCount;

    static readonly Dictionary<int, (int First, int Second)> Decomposition = [];
    static readonly Dictionary<long, int> Composition = [];
    static readonly Dictionary<int, byte> CombiningClass = [];

    static UnicodeNormalization()
    {
        foreach (string entry in Decompositions.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
        {
            bool excluded = entry[0] == '!';
            string[] parts = entry[(excluded ? 1 : 0)..].Split('=', '+');
            int composed = Hex(parts[0]), first = Hex(parts[1]), second = parts.Length > 2 ? Hex(parts[2]) : 0;
            Decomposition.Add(composed, (first, second));
            if (!excluded) Composition.Add(Pair(first, second), composed);
        }
        foreach (string entry in CombiningClasses.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
        {
            string[] parts = entry.Split('-', ':');
            byte value = byte.Parse(parts[^1], CultureInfo.InvariantCulture);
            for (int c = Hex(parts[0]); c <= Hex(parts[^2]); c++) CombiningClass.Add(c, value);
        }

        static int Hex(string s) => int.Parse(s, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
    }

    /// <summary>Below U+0300 everything is NFC already, and nothing there combines.</summary>
    static readonly SearchValues<char> NfcSafe = SearchValues.Create([.. Enumerable.Range(0, 0x300).Select(c => (char)c)]);

    static readonly SearchValues<char> Ascii = SearchValues.Create([.. Enumerable.Range(0, 0x80).Select(c => (char)c)]);

    public static NormalizedText ToNfd(NormalizedText text) =>
        text.Text.AsSpan().ContainsAnyExcept(Ascii) ? Build(text, Decomposed(text)) : text;

    public static NormalizedText ToNfc(NormalizedText text) =>
        text.Text.AsSpan().ContainsAnyExcept(NfcSafe) ? Build(text, Composed(Decomposed(text))) : text;

    readonly record struct Scalar(int Value, int Class, int Index);

    static List<Scalar> Decomposed(NormalizedText text)
    {
        List<Scalar> result = new(text.Text.Length + 16);
        int index = 0;
        foreach (Rune rune in text.Text.EnumerateRunes())
        {
            Append(result, rune.Value, index);
            index += rune.Utf16SequenceLength;
        }

        // Canonical order: runs of marks sorted by class, equal classes as they came.
        for (int i = 0; i < result.Count; i++)
        {
            int start = i;
            bool sorted = true;
            for (; i < result.Count && result[i].Class != 0; i++) sorted &= i == start || result[i - 1].Class <= result[i].Class;
            if (sorted) continue;
            Scalar[] run = [.. result.GetRange(start, i - start).OrderBy(s => s.Class)];
            for (int k = 0; k < run.Length; k++) result[start + k] = run[k];
        }
        return result;
    }

    static void Append(List<Scalar> result, int c, int index)
    {
        int s = c - HangulS;
        if ((uint)s < SCount)
        {
            result.Add(new(HangulL + s / (VCount * TCount), 0, index));
            result.Add(new(HangulV + s % (VCount * TCount) / TCount, 0, index));
            if (s % TCount != 0) result.Add(new(HangulT + s % TCount, 0, index));
        }
        else if (c >= 0xC0 && Decomposition.TryGetValue(c, out var parts))
        {
            Append(result, parts.First, index);
            if (parts.Second != 0) Append(result, parts.Second, index);
        }
        else result.Add(new(c, c >= 0x300 ? CombiningClass.GetValueOrDefault(c) : 0, index));
    }

    static List<Scalar> Composed(List<Scalar> input)
    {
        List<Scalar> result = new(input.Count);
        int starter = -1, blocking = -1;
        foreach (Scalar s in input)
        {
            // A mark is blocked from its starter by a mark between them of its own class or a higher one, or by another starter.
            if (starter >= 0 && blocking < s.Class && Compose(result[starter].Value, s.Value) is int composed)
            {
                result[starter] = result[starter] with { Value = composed };
                continue;
            }
            if (s.Class == 0) (starter, blocking) = (result.Count, -1);
            else blocking = s.Class;
            result.Add(s);
        }
        return result;
    }

    static int? Compose(int a, int b)
    {
        if ((uint)(a - HangulL) < 19 && (uint)(b - HangulV) < VCount) return HangulS + ((a - HangulL) * VCount + b - HangulV) * TCount;
        if ((uint)(a - HangulS) < SCount && (a - HangulS) % TCount == 0 && b > HangulT && b < HangulT + TCount) return a + b - HangulT;
        return Composition.TryGetValue(Pair(a, b), out int c) ? c : null;
    }

    static long Pair(int a, int b) => ((long)a << 32) | (uint)b;

    static NormalizedText Build(NormalizedText source, List<Scalar> scalars)
    {
        NormalizedText.Builder builder = new(source);
        int last = 0;
        foreach (Scalar s in scalars) builder.Append(new Rune(s.Value), last = Math.Max(last, s.Index));
        return builder.Build();
    }
}
