namespace LongCtx.Cli.Evaluation;

/// <summary>Divides a text into ranges for figures by position: 10 to 20 of a round size, or 10,000 tokens each when it is long.</summary>
internal static class PositionRanges
{
    const int LongText = 100_000;
    const int LongStep = 10_000;

    /// <summary>Size of a range. Powers of two and 1, 2, 5 times powers of ten are round; one that divides the text evenly is preferred.</summary>
    public static int Step(int tokens)
    {
        if (tokens >= LongText) return LongStep;
        if (tokens <= 20) return Math.Max(1, tokens / 10);
        int least = (tokens + 19) / 20, most = Math.Max(least, tokens / 10);
        int[] round = [.. RoundNumbers(most).Where(n => n >= least)];
        return round.FirstOrDefault(n => tokens % n == 0, round.FirstOrDefault(most));
    }

    static IEnumerable<int> RoundNumbers(int max)
    {
        var numbers = new SortedSet<int>();
        for (int power = 1; power <= max; power *= 2) numbers.Add(power);
        for (int power = 1; power <= max; power *= 10)
            foreach (int factor in (int[])[1, 2, 5])
                if (factor * power <= max) numbers.Add(factor * power);
        return numbers;
    }
}
