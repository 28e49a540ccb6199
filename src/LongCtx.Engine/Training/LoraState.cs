using LongCtx.Engine.Adapters;
using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Training;

/// <summary>
/// An adapter that learns, between two updates: its numbers and what AdamW remembers, all in the order of <see cref="LoraLayout"/>. Never
/// changed once made: an update gives another one, so that the version before it stays.
/// </summary>
public sealed unsafe class LoraState
{
    /// <param name="weights">The numbers of this version.</param>
    /// <param name="firstMoment">AdamW's mean of gradients.</param>
    /// <param name="secondMoment">AdamW's mean of squared gradients.</param>
    /// <param name="seed">Of what is drawn at random: the first A, and dropout.</param>
    /// <param name="steps">Steps of the optimiser so far.</param>
    /// <param name="chunks">Chunks trained so far.</param>
    public LoraState(LoraWeights weights, LoraWeights firstMoment, LoraWeights secondMoment, ulong seed, long steps, int chunks)
    {
        if (firstMoment.Layout.Count != weights.Layout.Count || secondMoment.Layout.Count != weights.Layout.Count)
            throw new ArgumentException($"the optimiser's state has {firstMoment.Layout.Count} and {secondMoment.Layout.Count} numbers, the adapter {weights.Layout.Count}", nameof(firstMoment));
        ArgumentOutOfRangeException.ThrowIfNegative(steps);
        ArgumentOutOfRangeException.ThrowIfNegative(chunks);
        (Weights, FirstMoment, SecondMoment, Seed, Steps, Chunks) = (weights, firstMoment, secondMoment, seed, steps, chunks);
    }

    public LoraWeights Weights { get; }

    public LoraWeights FirstMoment { get; }

    public LoraWeights SecondMoment { get; }

    public ulong Seed { get; }

    public long Steps { get; }

    public int Chunks { get; }

    public LoraLayout Layout => Weights.Layout;

    /// <summary>Version 0: A uniform within ±1/√inputs (Kaiming with a = √5, as PEFT does it), a function of the seed and the place alone; B is zero, so that it changes nothing.</summary>
    public static LoraState Create(LoraLayout layout, ulong seed)
    {
        var weights = new LoraWeights(layout);
        for (int layer = 0; layer < layout.Config.LayerCount; layer++)
            foreach (LoraTargets target in layout.PresentTargets)
            {
                Span<float> a = weights.A(layer, target);
                double bound = 1 / Math.Sqrt(layout.Inputs(target));
                for (int i = 0; i < a.Length; i++) a[i] = (float)(bound * (2 * Philox.Uniform(seed, layout.A(layer, target) + i) - 1));
            }

        return new(weights, new(layout), new(layout), seed, 0, 0);
    }

    /// <summary>The same numbers in memory of their own, counted on.</summary>
    internal LoraState Copy(long steps, int chunks) => new(Copy(Weights), Copy(FirstMoment), Copy(SecondMoment), Seed, steps, chunks);

    static LoraWeights Copy(LoraWeights from)
    {
        var copy = new LoraWeights(from.Layout);
        long bytes = from.Layout.Count * sizeof(float);
        Buffer.MemoryCopy(from.Pointer, copy.Pointer, bytes, bytes);
        GC.KeepAlive(from);
        return copy;
    }
}
