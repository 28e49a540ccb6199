using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace LongCtx.Engine.Sampling;

/// <summary>
/// The tokens that may still be drawn. Each filter keeps a prefix of the order (logit falling, id rising) without sorting the vocabulary:
/// it bisects the logit at which the prefix ends, counting in vectors, and sorts only the few tokens around it.
/// </summary>
sealed class Candidates(int vocabulary)
{
    const int Lanes = 16;
    const int Block = 16 * Lanes;     // tokens whose weights Draw sums before it looks inside
    const int SortedMax = 128;

    // Both padded to whole blocks with tokens that are dropped from the start.
    readonly float[] _distances = new float[(vocabulary + Block - 1) / Block * Block]; // (max logit - logit) / temperature; infinite: dropped
    readonly float[] _weights = new float[(vocabulary + Block - 1) / Block * Block];   // exp(-distance): 1 for the most likely token
    readonly double[] _sums = new double[(vocabulary + Block - 1) / Block];
    float _farthest;                  // largest distance of a token that has any weight; exp(-104) is 0 as a float, so never more
    readonly ulong[] _edge = new ulong[vocabulary]; // distance bits << 32 | id: sorts by logit falling, id rising

    public void Load(ReadOnlySpan<float> logits, float max, float temperature)
    {
        logits.CopyTo(_distances);
        _distances.AsSpan(logits.Length).Fill(float.NegativeInfinity);
        Vector512<float> top = Vector512.Create(max), divisor = Vector512.Create(temperature);
        Vector512<float> farthest = default;
        Span<Vector512<float>> distances = Vectors(_distances), weights = Vectors(_weights);
        for (int i = 0; i < distances.Length; i++)
        {
            distances[i] = (top - distances[i]) / divisor;
            weights[i] = Vector512.Exp(-distances[i]);
            farthest = Vector512.Max(farthest, distances[i] & Vector512.GreaterThan(weights[i], Vector512<float>.Zero));
        }
        _farthest = 0;
        for (int lane = 0; lane < Lanes; lane++) _farthest = Math.Max(_farthest, farthest[lane]);
    }

    /// <summary>Top-k: keeps the <paramref name="count"/> most likely tokens.</summary>
    public void KeepCount(int count)
    {
        if (count < vocabulary) Keep(count, byMass: false);
    }

    /// <summary>Top-p: keeps the fewest most likely tokens that have this share of the probability of all that are left.</summary>
    public void KeepMass(double share) => Keep(share * Within(_farthest).Mass, byMass: true);

    /// <summary>Min-p: keeps tokens at least this likely, relative to the most likely one.</summary>
    public void KeepWeight(float min)
    {
        Vector512<float> limit = Vector512.Create(min);
        foreach (ref Vector512<float> weight in Vectors(_weights))
            weight = Vector512.ConditionalSelect(Vector512.LessThan(weight, limit), Vector512<float>.Zero, weight);
    }

    /// <summary>The token at which the running sum of weights, by rising id, exceeds <paramref name="uniform"/> of the total.</summary>
    public int Draw(double uniform)
    {
        double total = 0;
        int lastBlock = 0; // that holds any weight: rounding must not carry the target past it
        for (int b = 0; b < _sums.Length; b++)
        {
            _sums[b] = Sum(b);
            total += _sums[b];
            if (_sums[b] > 0) lastBlock = b;
        }
        double target = uniform * total;
        int block = 0;
        while (block < lastBlock && target >= _sums[block]) target -= _sums[block++];

        int token = -1;
        for (int i = block * Block; i < (block + 1) * Block && target >= 0; i++)
        {
            if (_weights[i] == 0) continue;
            target -= _weights[i];
            token = i;
        }
        return token;
    }

    /// <summary>The lowest index at which <paramref name="value"/> stands.</summary>
    public static int IndexOf(ReadOnlySpan<float> values, float value)
    {
        Vector512<float> wanted = Vector512.Create(value);
        ReadOnlySpan<Vector512<float>> vectors = MemoryMarshal.Cast<float, Vector512<float>>(values);
        for (int v = 0; v < vectors.Length; v++)
        {
            ulong equal = Vector512.Equals(vectors[v], wanted).ExtractMostSignificantBits();
            if (equal != 0) return v * Lanes + BitOperations.TrailingZeroCount(equal);
        }
        int done = vectors.Length * Lanes;
        return done + values[done..].IndexOf(value);
    }

    // Keeps the shortest prefix that measures at least `goal`: its number of tokens, or the sum of their weights.
    void Keep(double goal, bool byMass)
    {
        // Invariant: what lies within `near` measures less than the goal, what lies within `far` reaches it.
        float near = -float.Epsilon, far = _farthest;
        (int Count, double Mass) inside = default, outside = Within(far);
        if ((byMass ? outside.Mass : outside.Count) < goal) return;
        while (outside.Count - inside.Count > SortedMax)
        {
            float middle = near < 0 && far < 1e-6f ? 0 : near + (far - near) / 2; // 0 is worth a look: many tokens may share the maximum
            if (middle <= near || middle >= far) break;
            (int Count, double Mass) within = Within(middle);
            if ((byMass ? within.Mass : within.Count) < goal) (near, inside) = (middle, within);
            else (far, outside) = (middle, within);
        }

        Span<ulong> edge = Edge(near, far);
        edge.Sort();
        double measure = byMass ? inside.Mass : inside.Count;
        int kept = 0;
        for (; kept < edge.Length && measure < goal; kept++) measure += byMass ? _weights[(int)(uint)edge[kept]] : 1;
        foreach (ulong key in edge[kept..]) _distances[(int)(uint)key] = float.PositiveInfinity;
        DropBeyond(far);
    }

    // How many tokens lie within this distance of the maximum, and what they weigh. Sums are in double and in an order that is fixed.
    [MethodImpl(MethodImplOptions.NoInlining)] // inlined into the bisection it spills its vectors: half the speed
    (int Count, double Mass) Within(float distance)
    {
        Vector512<float> limit = Vector512.Create(distance);
        ReadOnlySpan<Vector512<float>> distances = Vectors(_distances), weights = Vectors(_weights);
        Vector512<double> lower = default, upper = default;
        int count = 0;
        for (int i = 0; i < distances.Length; i++)
        {
            Vector512<float> within = Vector512.LessThanOrEqual(distances[i], limit);
            count += BitOperations.PopCount(within.ExtractMostSignificantBits());
            (Vector512<double> l, Vector512<double> u) = Vector512.Widen(within & weights[i]);
            lower += l;
            upper += u;
        }
        return (count, Vector512.Sum(lower + upper));
    }

    double Sum(int block)
    {
        Vector512<double> lower = default, upper = default;
        foreach (Vector512<float> weight in Vectors(_weights.AsSpan(block * Block, Block)))
        {
            (Vector512<double> l, Vector512<double> u) = Vector512.Widen(weight);
            lower += l;
            upper += u;
        }
        return Vector512.Sum(lower + upper);
    }

    // Tokens farther than `near` and no farther than `far`, as sortable keys.
    Span<ulong> Edge(float near, float far)
    {
        Vector512<float> low = Vector512.Create(near), high = Vector512.Create(far);
        ReadOnlySpan<Vector512<float>> distances = Vectors(_distances);
        int count = 0;
        for (int v = 0; v < distances.Length; v++)
        {
            Vector512<float> hit = Vector512.GreaterThan(distances[v], low) & Vector512.LessThanOrEqual(distances[v], high);
            for (ulong lanes = hit.ExtractMostSignificantBits(); lanes != 0; lanes &= lanes - 1)
            {
                int id = v * Lanes + BitOperations.TrailingZeroCount(lanes);
                _edge[count++] = (ulong)BitConverter.SingleToUInt32Bits(_distances[id]) << 32 | (uint)id;
            }
        }
        return _edge.AsSpan(0, count);
    }

    void DropBeyond(float distance)
    {
        Vector512<float> limit = Vector512.Create(distance), dropped = Vector512.Create(float.PositiveInfinity);
        Span<Vector512<float>> distances = Vectors(_distances), weights = Vectors(_weights);
        for (int i = 0; i < distances.Length; i++)
        {
            Vector512<float> beyond = Vector512.GreaterThan(distances[i], limit);
            distances[i] = Vector512.ConditionalSelect(beyond, dropped, distances[i]);
            weights[i] = Vector512.AndNot(weights[i], beyond);
        }
    }

    static Span<Vector512<float>> Vectors(Span<float> values) => MemoryMarshal.Cast<float, Vector512<float>>(values);
}
