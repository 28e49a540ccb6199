using LongCtx.Engine.Adapters;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Tests.Adapters;

/// <summary>The forward pass in double, one loop per sum: full attention, weights as the file has them, y = W x + (alpha / r) B (A x).</summary>
internal sealed class NaiveDecoder(ModelSource source)
{
    readonly DecoderConfig _config = source.Decoder!;

    /// <summary>Logits of the last token; <paramref name="adapters"/>[i] is what token i is computed under.</summary>
    public double[] Logits(int[] tokens, LoraWeights?[] adapters)
    {
        DecoderConfig c = _config;
        double[] frequencies = c.RopeFrequencies(c.TrainedLength).InverseFrequencies;
        double[][] hidden = [.. tokens.Select(t => Matrix(TensorSlot.TokenEmbedding, 0)[t])];
        for (int layer = 0; layer < c.LayerCount; layer++)
        {
            double[][] normed = [.. hidden.Select(h => Norm(h, Vector(TensorSlot.AttentionNorm, layer)))];
            double[][] Rotated(TensorSlot slot, LoraTargets target) => [.. normed.Select((x, i) => Rotate(Project(slot, target, layer, x, adapters[i]), i, frequencies))];
            double[][] q = Rotated(TensorSlot.Query, LoraTargets.Query), k = Rotated(TensorSlot.Key, LoraTargets.Key);
            double[][] v = [.. normed.Select((x, i) => Project(TensorSlot.Value, LoraTargets.Value, layer, x, adapters[i]))];
            for (int i = 0; i < tokens.Length; i++)
            {
                double[] h = Sum(hidden[i], Project(TensorSlot.AttentionOutput, LoraTargets.Output, layer, Attend(q[i], k, v, i), adapters[i]));
                double[] x = Norm(h, Vector(TensorSlot.FeedForwardNorm, layer));
                double[] gate = Project(TensorSlot.Gate, LoraTargets.Gate, layer, x, adapters[i]), up = Project(TensorSlot.Up, LoraTargets.Up, layer, x, adapters[i]);
                double[] gated = [.. gate.Zip(up, (g, u) => g / (1 + Math.Exp(-g)) * u)];
                hidden[i] = Sum(h, Project(TensorSlot.Down, LoraTargets.Down, layer, gated, adapters[i]));
            }
        }

        return Multiply(Matrix(c.TiedEmbeddings ? TensorSlot.TokenEmbedding : TensorSlot.Output, 0), Norm(hidden[^1], Vector(TensorSlot.OutputNorm, 0)));
    }

    double[] Project(TensorSlot slot, LoraTargets target, int layer, double[] x, LoraWeights? adapter)
    {
        double[] y = Multiply(Matrix(slot, layer), x);
        if (adapter is null || !adapter.Layout.Targets.HasFlag(target)) return y;
        double[] u = Multiply(Rows(adapter.A(layer, target), x.Length), x), delta = Multiply(Rows(adapter.B(layer, target), u.Length), u);
        return [.. y.Zip(delta, (a, d) => a + adapter.Layout.Alpha / adapter.Layout.Rank * d)];
    }

    double[] Attend(double[] query, double[][] keys, double[][] values, int last)
    {
        int d = _config.HeadDimension, group = _config.QueryHeadCount / _config.KeyValueHeadCount;
        double[] output = new double[query.Length];
        for (int head = 0; head < _config.QueryHeadCount; head++)
        {
            double[] scores = [.. Enumerable.Range(0, last + 1).Select(j => Enumerable.Range(0, d).Sum(i => query[head * d + i] * keys[j][head / group * d + i]) / Math.Sqrt(d))];
            double[] weights = [.. scores.Select(s => Math.Exp(s - scores.Max()))];
            for (int i = 0; i < d; i++) output[head * d + i] = weights.Select((w, j) => w * values[j][head / group * d + i]).Sum() / weights.Sum();
        }

        return output;
    }

    double[] Rotate(double[] x, int position, double[] frequencies)
    {
        double[] y = [.. x];
        for (int head = 0; head < x.Length; head += _config.HeadDimension)
            for (int i = 0, half = frequencies.Length; i < half; i++)
            {
                (double sin, double cos) = Math.SinCos(position * frequencies[i]);
                (double a, double b) = (x[head + i], x[head + half + i]);
                (y[head + i], y[head + half + i]) = (a * cos - b * sin, b * cos + a * sin);
            }

        return y;
    }

    double[] Norm(double[] x, double[] weight)
    {
        double factor = 1 / Math.Sqrt(x.Sum(v => v * v) / x.Length + _config.NormEpsilon);
        return [.. x.Zip(weight, (v, w) => v * factor * w)];
    }

    static double[] Sum(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];

    static double[] Multiply(double[][] matrix, double[] x) => [.. matrix.Select(row => row.Zip(x, (w, v) => w * v).Sum())];

    double[] Vector(TensorSlot slot, int layer) => Matrix(slot, layer)[0];

    readonly Dictionary<(TensorSlot, int), double[][]> _matrices = [];

    double[][] Matrix(TensorSlot slot, int layer)
    {
        if (_matrices.TryGetValue((slot, layer), out double[][]? known)) return known;
        TensorInfo tensor = source.Require(slot, layer);
        float[] numbers = new float[tensor.ElementCount];
        Dequantizer.ToFloat32(tensor.Type, source.File.Bytes(tensor), numbers);
        return _matrices[(slot, layer)] = Rows(numbers, (int)tensor.Columns);
    }

    static double[][] Rows(ReadOnlySpan<float> numbers, int columns) => [.. numbers.ToArray().Select(x => (double)x).Chunk(columns)];
}
