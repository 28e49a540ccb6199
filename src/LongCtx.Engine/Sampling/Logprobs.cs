using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace LongCtx.Engine.Sampling;

/// <summary>
/// Natural logarithms of the model's own probabilities: the softmax of the logits as they left the model, before bias, penalties,
/// temperature and filters. That is what OpenAI's API reports: how likely the model found a token, not how likely the sampler made it.
/// </summary>
public static class Logprobs
{
    public const int TopMax = 20;

    const int Lanes = 16;

    /// <summary>
    /// The log-probability of <paramref name="token"/>, and of the most likely tokens, most likely first (ties: lowest id), as many as
    /// <paramref name="topIds"/> has room for.
    /// </summary>
    /// <param name="logits">(vocabulary); finite.</param>
    /// <param name="topLogprobs">As long as <paramref name="topIds"/>: 0..20, at most the vocabulary.</param>
    public static float Compute(ReadOnlySpan<float> logits, int token, Span<int> topIds, Span<float> topLogprobs)
    {
        if (topIds.Length > Math.Min(TopMax, logits.Length) || topLogprobs.Length != topIds.Length)
            throw new ArgumentException($"The two spans must be of one length, 0 to {Math.Min(TopMax, logits.Length)}.", nameof(topIds));
        float max = TensorPrimitives.Max(logits);
        double logSum = LogSumExp(logits, max);
        Top(logits, topIds, topLogprobs);
        foreach (ref float value in topLogprobs) value = (float)((double)value - max - logSum);
        return (float)((double)logits[token] - max - logSum);
    }

    // Of the logits less their maximum: added to a large maximum it would be lost.
    static double LogSumExp(ReadOnlySpan<float> logits, float max)
    {
        Vector512<float> shift = Vector512.Create(max);
        Vector512<double> lower = default, upper = default;
        ReadOnlySpan<Vector512<float>> vectors = MemoryMarshal.Cast<float, Vector512<float>>(logits);
        foreach (Vector512<float> v in vectors)
        {
            (Vector512<double> l, Vector512<double> u) = Vector512.Widen(Vector512.Exp(v - shift));
            lower += l;
            upper += u;
        }
        double sum = Vector512.Sum(lower + upper);
        foreach (float logit in logits[(vectors.Length * Lanes)..]) sum += Math.Exp(logit - max);
        return Math.Log(sum);
    }

    // An insertion into a sorted list of at most 20; a vector without a logit above the list's last is passed over.
    static void Top(ReadOnlySpan<float> logits, Span<int> ids, Span<float> values)
    {
        if (ids.IsEmpty) return;
        values.Fill(float.NegativeInfinity);
        ids.Clear();
        ReadOnlySpan<Vector512<float>> vectors = MemoryMarshal.Cast<float, Vector512<float>>(logits);
        for (int v = 0; v < vectors.Length; v++)
            for (ulong lanes = Vector512.GreaterThan(vectors[v], Vector512.Create(values[^1])).ExtractMostSignificantBits(); lanes != 0; lanes &= lanes - 1)
                Insert(v * Lanes + BitOperations.TrailingZeroCount(lanes), logits, ids, values);
        for (int id = vectors.Length * Lanes; id < logits.Length; id++) Insert(id, logits, ids, values);
    }

    static void Insert(int id, ReadOnlySpan<float> logits, Span<int> ids, Span<float> values)
    {
        float logit = logits[id];
        if (logit <= values[^1]) return; // equal: the earlier id stays
        int at = values.Length - 1;
        for (; at > 0 && values[at - 1] < logit; at--) (values[at], ids[at]) = (values[at - 1], ids[at - 1]);
        (values[at], ids[at]) = (logit, id);
    }
}
