using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Tests.Training;

/// <summary>A naive twin: the whole model with an adapter in double precision, written down from the formulas, one token after the other.</summary>
internal sealed class DoubleModel(ModelSource source)
{
    readonly DecoderConfig _c = source.Decoder!;
    readonly Dictionary<(TensorSlot, int), double[]> _tensors = [];
    readonly List<(double Sin, double Cos)[]> _rotations = []; // by distance

    /// <summary>
    /// Mean cross-entropy of tokens [firstLabel, end) given what they see under a policy (all before them without one). Tokens before
    /// <paramref name="adapterFrom"/> are computed by the base: a cache from before the adapter.
    /// </summary>
    public double Loss(LoraLayout? layout, double[] adapter, int[] tokens, int firstLabel, int end, int adapterFrom = 0, AttentionPolicy? policy = null)
    {
        policy ??= new(0, 1, 1, 0, 1);
        int n = end - 1, d = _c.HeadDimension, group = _c.QueryHeadCount / _c.KeyValueHeadCount;
        double[] frequencies = _c.RopeFrequencies(_c.TrainedLength).InverseFrequencies;
        double[] embedding = Tensor(TensorSlot.TokenEmbedding);
        double[][] x = [.. tokens.Take(n).Select(t => embedding.AsSpan(t * _c.HiddenSize, _c.HiddenSize).ToArray())];
        for (int layer = 0; layer < _c.LayerCount; layer++)
        {
            var q = new double[n][];
            var k = new double[n][];
            var v = new double[n][];
            for (int t = 0; t < n; t++)
            {
                double[] normed = Norm(x[t], Tensor(TensorSlot.AttentionNorm, layer), 0, _c.HiddenSize);
                q[t] = Project(t, layer, LoraTargets.Query, TensorSlot.Query, TensorSlot.QueryBias, normed);
                k[t] = Project(t, layer, LoraTargets.Key, TensorSlot.Key, TensorSlot.KeyBias, normed);
                v[t] = Project(t, layer, LoraTargets.Value, TensorSlot.Value, TensorSlot.ValueBias, normed);
                NormHeads(q[t], TensorSlot.QueryNorm, layer);
                NormHeads(k[t], TensorSlot.KeyNorm, layer);
            }

            for (int t = 0; t < n; t++)
            {
                var attention = new double[_c.QuerySize];
                for (int head = 0; head < _c.QueryHeadCount; head++)
                {
                    int key = head / group;
                    int[] seen = [.. Enumerable.Range(0, t + 1).Where(j => j < policy.Sinks || j >= policy.FirstVisible(t, new()))];
                    double[] p = [.. seen.Select(j => Math.Exp(Score(q[t], head * d, k[j], key * d, (int)policy.RelativePosition(t, j)) / Math.Sqrt(d)))];
                    double sum = p.Sum();
                    for (int j = 0; j < seen.Length; j++)
                        for (int i = 0; i < d; i++) attention[head * d + i] += p[j] / sum * v[seen[j]][key * d + i];
                }

                Add(x[t], Project(t, layer, LoraTargets.Output, TensorSlot.AttentionOutput, TensorSlot.AttentionOutputBias, attention));
                double[] normed = Norm(x[t], Tensor(TensorSlot.FeedForwardNorm, layer), 0, _c.HiddenSize);
                double[] gate = Project(t, layer, LoraTargets.Gate, TensorSlot.Gate, TensorSlot.GateBias, normed), up = Project(t, layer, LoraTargets.Up, TensorSlot.Up, TensorSlot.UpBias, normed);
                for (int i = 0; i < gate.Length; i++) gate[i] *= up[i] / (1 + Math.Exp(-gate[i]));
                Add(x[t], Project(t, layer, LoraTargets.Down, TensorSlot.Down, TensorSlot.DownBias, gate));
            }
        }

        double nll = 0;
        double[] output = _c.TiedEmbeddings ? embedding : Tensor(TensorSlot.Output);
        for (int t = firstLabel; t < end; t++)
        {
            double[] logits = Multiply(output, Norm(x[t - 1], Tensor(TensorSlot.OutputNorm), 0, _c.HiddenSize));
            nll += Math.Log(logits.Sum(Math.Exp)) - logits[tokens[t]];
        }

        return nll / (end - firstLabel);

        double[] Project(int t, int layer, LoraTargets target, TensorSlot slot, TensorSlot bias, double[] input)
        {
            double[] y = Multiply(Tensor(slot, layer), input);
            if (source.Find(bias, layer) is not null) Add(y, Tensor(bias, layer));
            if (layout is null || t < adapterFrom || !layout.Targets.HasFlag(target)) return y;
            double[] low = Multiply(adapter.AsSpan((int)layout.A(layer, target), layout.Rank * input.Length), input);
            for (int i = 0; i < low.Length; i++) low[i] *= layout.Alpha / layout.Rank;
            Add(y, Multiply(adapter.AsSpan((int)layout.B(layer, target), layout.Rank * y.Length), low));
            return y;
        }

        void NormHeads(double[] heads, TensorSlot norm, int layer)
        {
            for (int at = 0; _c.HasQkNorm && at < heads.Length; at += d) Norm(heads, Tensor(norm, layer), at, d).CopyTo(heads, at);
        }

        // A query so far behind a key: the rotation of the one against the other.
        double Score(double[] query, int queryAt, double[] key, int keyAt, int distance)
        {
            double sum = 0;
            int pairs = frequencies.Length;
            for (int i = 0; i < pairs; i++)
            {
                (double sin, double cos) = Rotations(distance)[i];
                (double a, double b) = (query[queryAt + i], query[queryAt + i + pairs]);
                sum += (a * cos - b * sin) * key[keyAt + i] + (b * cos + a * sin) * key[keyAt + i + pairs];
            }

            for (int i = 2 * pairs; i < d; i++) sum += query[queryAt + i] * key[keyAt + i];
            return sum;
        }

        (double Sin, double Cos)[] Rotations(int distance)
        {
            while (_rotations.Count <= distance) _rotations.Add([.. frequencies.Select(f => Math.SinCos(_rotations.Count * f))]);
            return _rotations[distance];
        }
    }

    double[] Norm(double[] x, double[] weight, int at, int count)
    {
        double square = 0;
        for (int i = 0; i < count; i++) square += x[at + i] * x[at + i];
        double factor = 1 / Math.Sqrt(square / count + _c.NormEpsilon);
        return [.. Enumerable.Range(0, count).Select(i => x[at + i] * factor * weight[i])];
    }

    static double[] Multiply(ReadOnlySpan<double> matrix, double[] x)
    {
        var y = new double[matrix.Length / x.Length];
        for (int r = 0; r < y.Length; r++)
            for (int i = 0; i < x.Length; i++) y[r] += matrix[r * x.Length + i] * x[i];
        return y;
    }

    static void Add(double[] x, double[] y)
    {
        for (int i = 0; i < x.Length; i++) x[i] += y[i];
    }

    double[] Tensor(TensorSlot slot, int layer = 0)
    {
        if (_tensors.TryGetValue((slot, layer), out double[]? values)) return values;
        TensorInfo tensor = source.Require(slot, layer);
        var floats = new float[tensor.ElementCount];
        Dequantizer.ToFloat32(tensor.Type, source.File.Bytes(tensor), floats);
        return _tensors[(slot, layer)] = [.. floats.Select(x => (double)x)];
    }
}
