namespace LongCtx.Cli.Bench;

internal static class Median
{
    public static double Of(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        if (sorted.Length == 0) throw new ArgumentException("a median needs at least one value", nameof(values));
        int middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /// <summary>Median over <paramref name="runs"/> runs of one measurement.</summary>
    public static double Of(int runs, Func<double> measure)
    {
        var values = new double[runs];
        for (int i = 0; i < runs; i++) values[i] = measure();
        return Of(values);
    }

    /// <summary>The same for what is waited for; one run after another.</summary>
    public static async Task<double> OfAsync(int runs, Func<Task<double>> measure)
    {
        var values = new double[runs];
        for (int i = 0; i < runs; i++) values[i] = await measure();
        return Of(values);
    }
}
