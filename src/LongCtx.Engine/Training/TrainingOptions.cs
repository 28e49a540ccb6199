namespace LongCtx.Engine.Training;

/// <summary>How a temporary adapter learns. Defaults are AdamW's, the learning rate is one for small models and ranks (reference: the Temp-LoRA paper trains a 7B model at 5e-5).</summary>
public sealed record TrainingOptions
{
    /// <summary>Above 0.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Decay of the mean of gradients, in [0, 1).</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of the mean of squared gradients, in [0, 1).</summary>
    public double Beta2 { get; init; } = 0.999;

    /// <summary>Above 0.</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>Decoupled: a step first takes away this part × learning rate of every parameter.</summary>
    public double WeightDecay { get; init; }

    /// <summary>Largest global norm of a gradient, above 0; null: gradients are taken as they are.</summary>
    public double? GradientClip { get; init; }

    /// <summary>The k-th trained chunk (k = 0, 1, ...) learns at LearningRate × min(1, (k + 1) / WarmUpChunks); at least 1.</summary>
    public int WarmUpChunks { get; init; } = 2;

    /// <summary>Probability that an input of the low-rank path is left out, in [0, 1); the others are divided by the rest.</summary>
    public double Dropout { get; init; }

    /// <summary>Optimiser steps on a chunk, at least 1.</summary>
    public int Epochs { get; init; } = 2;

    /// <summary>Whether the base model's loss on the chunk is measured too, which costs one forward pass.</summary>
    public bool ScoresBase { get; init; }

    /// <summary>Learning rate of the k-th trained chunk.</summary>
    public double LearningRateAt(int chunk) => LearningRate * Math.Min(1, (chunk + 1.0) / WarmUpChunks);

    /// <exception cref="ArgumentException">A number is out of its range; the message says which and what would do.</exception>
    public void Validate()
    {
        Require(double.IsFinite(LearningRate) && LearningRate > 0, nameof(LearningRate), LearningRate, "a number above 0");
        Require(Beta1 is >= 0 and < 1, nameof(Beta1), Beta1, "within 0 and 1, without 1");
        Require(Beta2 is >= 0 and < 1, nameof(Beta2), Beta2, "within 0 and 1, without 1");
        Require(double.IsFinite(Epsilon) && Epsilon > 0, nameof(Epsilon), Epsilon, "a number above 0");
        Require(double.IsFinite(WeightDecay) && WeightDecay >= 0, nameof(WeightDecay), WeightDecay, "a number of at least 0");
        Require(GradientClip is null or > 0, nameof(GradientClip), GradientClip, "above 0, or left out for none");
        Require(WarmUpChunks >= 1, nameof(WarmUpChunks), WarmUpChunks, "at least 1");
        Require(Dropout is >= 0 and < 1, nameof(Dropout), Dropout, "within 0 and 1, without 1");
        Require(Epochs >= 1, nameof(Epochs), Epochs, "at least 1");
    }

    static void Require(bool isMet, string name, object? value, string range)
    {
        if (!isMet) throw new ArgumentException($"{name} is {value}: it must be {range}", name);
    }
}
