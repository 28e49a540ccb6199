namespace LongCtx.Cli.Evaluation;

/// <summary>Signs of a collapse in generated text: few distinct trigrams, long repeats.</summary>
internal static class Repetition
{
    public static int DistinctTrigrams(ReadOnlySpan<int> tokens)
    {
        var seen = new HashSet<(int, int, int)>();
        for (int i = 2; i < tokens.Length; i++) seen.Add((tokens[i - 2], tokens[i - 1], tokens[i]));
        return seen.Count;
    }

    /// <summary>Tokens of the longest run that occurs twice; the two may overlap, so a loop counts in full.</summary>
    public static int LongestRepeat(ReadOnlySpan<int> tokens)
    {
        int[] order = SuffixOrder(tokens, out int[] rank);
        int longest = 0, common = 0;
        // Kasai et al. 2001: the common prefix with the neighbour in suffix order shrinks by at most one from i to i + 1.
        for (int i = 0; i < tokens.Length; i++)
        {
            if (rank[i] == 0)
            {
                common = 0;
                continue;
            }

            int j = order[rank[i] - 1];
            while (i + common < tokens.Length && j + common < tokens.Length && tokens[i + common] == tokens[j + common]) common++;
            longest = Math.Max(longest, common);
            if (common > 0) common--;
        }

        return longest;
    }

    /// <summary>Start indices of all suffixes in lexical order, by prefix doubling; rank is the inverse.</summary>
    static int[] SuffixOrder(ReadOnlySpan<int> tokens, out int[] rank)
    {
        int n = tokens.Length;
        var order = new int[n];
        var keys = new (int First, int Second)[n];
        var ranks = tokens.ToArray();
        for (int half = 0; ; half = Math.Max(1, half * 2))
        {
            for (int i = 0; i < n; i++)
            {
                order[i] = i;
                keys[i] = (ranks[i], half > 0 && i + half < n ? ranks[i + half] : -1);
            }

            Array.Sort(keys, order);
            int classes = 0;
            for (int i = 0; i < n; i++) ranks[order[i]] = i > 0 && keys[i] == keys[i - 1] ? classes - 1 : classes++;
            if (classes == n) break;
        }

        rank = ranks;
        return order;
    }
}
