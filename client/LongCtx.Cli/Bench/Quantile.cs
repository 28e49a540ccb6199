namespace LongCtx.Cli.Bench;

internal static class Quantile
{
    /// <summary>The value that <paramref name="percent"/> of all are below.</summary>
    public static double Of(IReadOnlyCollection<double> values, int percent) => values.Order().ElementAt(values.Count * percent / 100);
}
