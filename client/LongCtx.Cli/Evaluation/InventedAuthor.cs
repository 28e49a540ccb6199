using System.Text;

namespace LongCtx.Cli.Evaluation;

/// <summary>
/// Text by an author who does not exist, so that no model has ever read it: people, places and some 200 words of their own, which words go with which, turns of
/// phrase, and habits of beginning a sentence. All of it is a function of the seed.
/// </summary>
internal sealed class InventedAuthor
{
    static readonly string[] s_onsets = ["b", "br", "d", "dr", "f", "g", "gl", "h", "k", "l", "m", "n", "p", "r", "s", "sk", "st", "t", "th", "tr", "v", "w"];
    static readonly string[] s_vowels = ["a", "e", "i", "o", "u", "ai", "ea", "oo", "ou"];
    static readonly string[] s_codas = ["", "b", "d", "ft", "l", "lm", "n", "nd", "r", "rk", "rn", "sk", "ss", "th", "x"];
    static readonly string[] s_openings = ["And so", "Now", "But then", "In those days", "As I have said", "Long after", "It is known that", "Once more"];

    readonly Random _random;
    readonly HashSet<string> _taken = new(StringComparer.Ordinal);
    readonly string[] _people, _places, _nouns, _adjectives, _verbs, _phrases, _habits;
    readonly int[][] _adjectivesOf, _verbsOf; // favourites of each noun

    public InventedAuthor(int seed)
    {
        _random = new(seed);
        _people = Words(12, Name);
        _places = Words(8, Name);
        _nouns = Words(80, () => Word(2));
        _adjectives = Words(60, () => Word(1) + "en");
        _verbs = Words(60, () => Word(1) + "ed");
        _adjectivesOf = [.. _nouns.Select(_ => Favourites(_adjectives))];
        _verbsOf = [.. _nouns.Select(_ => Favourites(_verbs))];
        _phrases = [.. Enumerable.Range(0, 8).Select(_ => $"as the {Any(_nouns)} of {Any(_places)} {Any(_verbs)} the {Any(_adjectives)} {Any(_nouns)}")];
        _habits = [.. s_openings.OrderBy(_ => _random.Next()).Take(3)];
    }

    /// <summary>So many words and those that end the last sentence; every call goes on where the one before ended.</summary>
    public string Write(int words)
    {
        var text = new StringBuilder();
        for (int written = 0, sentences = 1; written < words; sentences++)
        {
            string sentence = Sentence();
            written += sentence.Count(c => c == ' ') + 1;
            text.Append(sentence).Append(sentences % 6 == 0 ? "\n\n" : " ");
        }

        return text.ToString().TrimEnd();
    }

    string Sentence()
    {
        string clause = Clause();
        string sentence = _random.Next(5) switch
        {
            0 => $"{Any(_habits)}, {clause}",
            1 => $"{clause}, {Any(_phrases)}",
            2 => $"{clause}, and {Clause()}",
            3 => $"\"{Capital(clause)},\" said {Any(_people)}",
            _ => clause,
        };
        return Capital(sentence) + ".";
    }

    /// <summary>Which noun it is about decides most of the rest.</summary>
    string Clause()
    {
        int noun = Rank(_nouns.Length), other = Rank(_nouns.Length);
        string subject = _random.Next(2) == 0 ? Any(_people) : $"the {Favourite(_adjectives, _adjectivesOf[noun])} {_nouns[noun]}";
        string end = _random.Next(3) == 0 ? $" at {Any(_places)}" : "";
        return $"{subject} {Favourite(_verbs, _verbsOf[noun])} the {Favourite(_adjectives, _adjectivesOf[other])} {_nouns[other]}{end}";
    }

    /// <summary>Small numbers are common, large ones rare, as with words.</summary>
    int Rank(int count) => (int)(count * Math.Pow(_random.NextDouble(), 2));

    string Any(string[] words) => words[Rank(words.Length)];

    string Favourite(string[] words, int[] favourites) => words[favourites[_random.Next(favourites.Length)]];

    int[] Favourites(string[] words) => [.. Enumerable.Range(0, 3).Select(_ => _random.Next(words.Length))];

    string[] Words(int count, Func<string> make)
    {
        var words = new string[count];
        for (int i = 0; i < count; i++)
            do words[i] = make();
            while (!_taken.Add(words[i]));
        return words;
    }

    string Name() => Capital(Word(2));

    string Word(int syllables) => string.Concat(Enumerable.Range(0, syllables).Select(_ => Pick(s_onsets) + Pick(s_vowels) + Pick(s_codas)));

    string Pick(string[] parts) => parts[_random.Next(parts.Length)];

    static string Capital(string text) => char.ToUpperInvariant(text[0]) + text[1..];
}
