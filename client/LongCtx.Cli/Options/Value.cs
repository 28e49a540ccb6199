using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;

namespace LongCtx.Cli.Options;

/// <summary>Options whose values are checked when the line is read: the message names the option, the range and the value given.</summary>
internal static class Value
{
    public static Option<int> Int(string name, string description, int min, int max, int? @default = null)
    {
        var option = new Option<int>(name) { Description = description, HelpName = "N", Required = @default is null };
        option.CustomParser = argument => ParseInt(argument, name, min, max) ?? 0;
        if (@default is { } value) option.DefaultValueFactory = _ => value;
        return option;
    }

    /// <summary>A whole number that may be left out.</summary>
    public static Option<int?> OptionalInt(string name, string description, int min, int max)
    {
        var option = new Option<int?>(name) { Description = description, HelpName = "N" };
        option.CustomParser = argument => ParseInt(argument, name, min, max);
        return option;
    }

    /// <summary>A whole number of 64 bits; left out, it is null.</summary>
    public static Option<ulong?> Seed(string description)
    {
        var option = new Option<ulong?>("--seed") { Description = description, HelpName = "N" };
        option.CustomParser = argument =>
        {
            string text = Single(argument);
            if (ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong value)) return value;
            argument.AddError($"--seed '{text}' is not possible: give a whole number from 0 to {ulong.MaxValue}");
            return null;
        };
        return option;
    }

    /// <param name="open">The lower end itself is not allowed.</param>
    public static Option<float> Float(string name, string description, float min, float max, float @default, bool open = false) =>
        Number(name, description, min, max, @default, open);

    /// <summary>The same with all its digits; an infinite end is none.</summary>
    public static Option<double> Double(string name, string description, double min, double max, double @default, bool open = false) =>
        Number(name, description, min, max, @default, open);

    static Option<T> Number<T>(string name, string description, T min, T max, T @default, bool open) where T : IFloatingPoint<T>
    {
        var option = new Option<T>(name) { Description = description, HelpName = "X", DefaultValueFactory = _ => @default };
        option.CustomParser = argument =>
        {
            string text = Single(argument);
            if (T.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out T? value) && T.IsFinite(value) && value <= max && (open ? value > min : value >= min))
                return value;
            string end = T.IsFinite(max) ? Invariant($" {(open ? "up to" : "to")} {max}") : open ? "" : " up";
            argument.AddError(Invariant($"{name} '{text}' is not possible: give a number {(open ? "above" : "from")} {min}{end}"));
            return @default;
        };
        return option;
    }

    /// <summary>"512,2048": whole numbers, each at least 1.</summary>
    public static Option<int[]?> IntList(string name, string description, int max)
    {
        var option = new Option<int[]?>(name) { Description = description, HelpName = "N,N,..." };
        option.CustomParser = argument =>
        {
            string text = Single(argument);
            string[] parts = text.Split(',');
            var values = new int[parts.Length];
            for (int i = 0; i < parts.Length; i++)
            {
                if (TryInt(parts[i], out values[i]) && values[i] >= 1 && values[i] <= max) continue;
                argument.AddError($"{name} '{text}' is not possible: give whole numbers from 1 to {max}, separated by commas");
                return null;
            }

            return values;
        };
        return option;
    }

    static int? ParseInt(ArgumentResult argument, string name, int min, int max)
    {
        string text = Single(argument);
        if (TryInt(text, out int value) && value >= min && value <= max) return value;
        argument.AddError($"{name} '{text}' is not possible: give a whole number from {min}" + (max == int.MaxValue ? " up" : $" to {max}"));
        return null;
    }

    internal static bool TryInt(string text, out int value) =>
        int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);

    internal static string Single(ArgumentResult argument) => argument.Tokens.Count == 0 ? "" : argument.Tokens[^1].Value;

    static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
