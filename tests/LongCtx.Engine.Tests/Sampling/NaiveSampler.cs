namespace LongCtx.Engine.Tests.Sampling;

/// <summary>The sampler as one would write it down: a full sort, dictionaries, scalar doubles.</summary>
static class NaiveSampler
{
    /// <summary>Logits after repetition, presence and frequency penalty and bias.</summary>
    public static float[] Adjust(float[] logits, SamplingOptions options, IReadOnlyList<int> sequence)
    {
        float[] adjusted = [.. logits];
        foreach (IGrouping<int, int> token in sequence.TakeLast(options.PenaltyWindow).GroupBy(t => t))
        {
            float logit = adjusted[token.Key];
            logit = logit > 0 ? logit / options.RepetitionPenalty : logit * options.RepetitionPenalty;
            adjusted[token.Key] = logit - (options.PresencePenalty + token.Count() * options.FrequencyPenalty);
        }
        foreach ((int token, float bias) in options.LogitBias ?? new Dictionary<int, float>()) adjusted[token] += bias;
        return adjusted;
    }

    public static int Greedy(float[] adjusted) => Enumerable.Range(0, adjusted.Length).OrderByDescending(id => adjusted[id]).First();

    /// <summary>Probability of each token after temperature, top-k, top-p and min-p; 0 for those filtered out.</summary>
    public static double[] Probabilities(float[] adjusted, SamplingOptions options)
    {
        float max = adjusted.Max();
        float[] distances = Array.ConvertAll(adjusted, l => (max - l) / options.Temperature);
        List<int> kept = [.. Enumerable.Range(0, adjusted.Length).OrderBy(id => distances[id]).ThenBy(id => id)];
        if (options.TopK > 0) kept = [.. kept.Take(options.TopK)];
        if (options.TopP < 1)
        {
            double goal = options.TopP * kept.Sum(id => Math.Exp(-distances[id])), sum = 0;
            int count = 0;
            while (count < kept.Count && sum < goal) sum += Math.Exp(-distances[kept[count++]]);
            kept = kept[..count];
        }
        kept.RemoveAll(id => Math.Exp(-distances[id]) < options.MinP);
        double total = kept.Sum(id => Math.Exp(-distances[id]));
        double[] probabilities = new double[adjusted.Length];
        foreach (int id in kept) probabilities[id] = Math.Exp(-distances[id]) / total;
        return probabilities;
    }
}
