using System.Globalization;

namespace LongCtx.Cli;

/// <summary>Numbers as text, the same in every country.</summary>
internal static class Text
{
    public static string Of(double value, string format = "R") => value.ToString(format, CultureInfo.InvariantCulture);

    public static string Of(long value) => value.ToString(CultureInfo.InvariantCulture);
}
