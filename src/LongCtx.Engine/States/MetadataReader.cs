using System.Globalization;
using LongCtx.Engine.Cache;

namespace LongCtx.Engine.States;

/// <summary>Strings of a header as what they stand for; a missing or malformed one refuses the file.</summary>
internal sealed class MetadataReader(string path, IReadOnlyDictionary<string, string> metadata)
{
    /// <summary>More than any model has; products of four of them do not overflow.</summary>
    const int DimensionMax = 1 << 15;

    /// <summary>What stands for the digest of no adapter.</summary>
    public const string BaseName = "base";

    const int DigestLength = 64;

    public SequenceFileException Refuse(string problem) => new(path, problem);

    public string Text(string name) => metadata.TryGetValue(name, out string? value) ? value : throw Refuse($"says no '{name}': it is not a LongCtx sequence");

    public long Number(string name, long min, long max) => Parse(name, Text(name), min, max);

    public int Dimension(string name) => (int)Number(name, 1, DimensionMax);

    /// <summary>Numbers with commas between them; none for an empty text.</summary>
    public long[] Numbers(string name) => Text(name) is { Length: > 0 } text ? [.. text.Split(',').Select(n => Parse(name, n, long.MinValue, long.MaxValue))] : [];

    public long[] Ascending(string name)
    {
        long[] numbers = Numbers(name);
        for (int i = 1; i < numbers.Length; i++)
            if (numbers[i] <= numbers[i - 1]) throw Refuse($"has '{name}' out of order");
        return numbers;
    }

    /// <summary>First and count.</summary>
    public BlockRange Range(string name) =>
        Numbers(name) is [long first and >= 0, long count and >= 0 and <= int.MaxValue / 2] ? new(first, (int)count) : throw Refuse($"has no range of blocks in '{name}'");

    public AttentionPolicy Policy(string name)
    {
        try
        {
            return PolicyOptions.ParseRule(Text(name));
        }
        catch (LongCtxException e)
        {
            throw new SequenceFileException(path, "has a policy that cannot be: " + e.Message, e);
        }
    }

    /// <summary>Counts of blocks by adapter, as <see cref="SequenceHeader"/> writes them.</summary>
    public AdapterRuns AdapterRuns(string name) => new(
        Text(name) is not { Length: > 0 } text ? [] : [.. text.Split(',').Select(run =>
        {
            int at = run.IndexOf('*', StringComparison.Ordinal);
            string digest = at < 0 ? "" : run[..at];
            if (digest != BaseName && !(digest.Length == DigestLength && digest.All(char.IsAsciiHexDigitLower))) throw Refuse($"has no adapter's digest in '{name}'");
            return new AdapterRun(digest == BaseName ? "" : digest, (int)Parse(name, run[(at + 1)..], 1, int.MaxValue / 2));
        })]);

    long Parse(string name, string text, long min, long max) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number) && number >= min && number <= max
            ? number
            : throw Refuse($"has '{(text.Length <= 40 ? text : text[..40] + "...")}' in '{name}' where a whole number from {min} to {max} belongs");
}
