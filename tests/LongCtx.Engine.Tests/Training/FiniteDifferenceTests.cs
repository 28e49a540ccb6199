using LongCtx.Engine.Adapters;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Training;

namespace LongCtx.Engine.Tests.Training;

/// <summary>Every gradient against central differences of a naive model in double precision.</summary>
public sealed class FiniteDifferenceTests(ITestOutputHelper output)
{
    const int TokenCount = 78, FirstLabel = 67, HeldOut = 3; // more than one block of keys, and rows of the last layer that nothing wants

    public static TheoryData<bool, LoraTargets> Cases()
    {
        var cases = new TheoryData<bool, LoraTargets> { { true, LoraTargets.All }, { false, LoraTargets.All }, { true, LoraTargets.Gate | LoraTargets.Output } };
        foreach (LoraTargets one in (LoraTargets[])[LoraTargets.Query, LoraTargets.Value, LoraTargets.Up, LoraTargets.Down]) cases.Add(true, one);
        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Gradients_OfEveryTarget_EqualCentralDifferences(bool awkward, LoraTargets targets)
    {
        DecoderConfig config = awkward ? TrainingModel.Awkward : TrainingModel.Blocks;
        using var model = new TrainingModel(config);
        int[] tokens = TrainingModel.Tokens(config, TokenCount);
        LoraState state = model.State(rank: 3, targets);
        TrainingResult result = model.Train(state, new(tokens, FirstLabel, HeldOut), new() { Epochs = 1, LearningRate = 1e-9 });
        var twin = new DoubleModel(model.Source);
        double[] adapter = [.. TrainingModel.Numbers(state.Weights).Select(x => (double)x)];
        float[] gradient = TrainingModel.Numbers(model.Trainer.Gradient!);

        double loss = twin.Loss(state.Layout, adapter, tokens, FirstLabel, TokenCount - HeldOut);
        double heldOut = twin.Loss(state.Layout, adapter, tokens, TokenCount - HeldOut, TokenCount);
        output.WriteLine($"seed {TrainingModel.Seed}: loss {result.Losses[0]:R}, twin {loss:R}; held out {result.HeldOutBefore:R}, twin {heldOut:R}");
        Assert.Equal(loss, result.Losses[0], 1e-5);
        Assert.Equal(heldOut, result.HeldOutBefore!.Value, 1e-5);

        double rms = Math.Sqrt(gradient.Sum(g => (double)g * g) / gradient.Length), worst = 0;
        const double Step = 1e-4;
        int count = 0;
        for (int layer = 0; layer < config.LayerCount; layer++)
            foreach (LoraTargets target in state.Layout.PresentTargets)
                foreach (int at in (int[])[(int)state.Layout.A(layer, target), (int)state.Layout.B(layer, target)])
                    foreach (int element in (int[])[0, 1, 23, 31]) // within the smallest matrix, in several of its rows
                    {
                        double difference = (Shifted(at + element, Step) - Shifted(at + element, -Step)) / (2 * Step);
                        worst = Math.Max(worst, Math.Abs(difference - gradient[at + element]) / rms);
                        count++;
                    }

        output.WriteLine($"{count} differences, largest deviation {worst:E2} of the root mean square {rms:E2}");
        Assert.True(worst < 2e-5, $"a gradient differs by {worst} of the root mean square");

        double Shifted(int index, double step)
        {
            double kept = adapter[index];
            adapter[index] += step;
            double shifted = twin.Loss(state.Layout, adapter, tokens, FirstLabel, TokenCount - HeldOut);
            adapter[index] = kept;
            return shifted;
        }
    }

    [Theory]
    [InlineData(TensorType.Q8_0)]
    [InlineData(TensorType.Q4_1)]
    [InlineData(TensorType.BF16)]
    public void Gradients_OfQuantisedWeights_EqualThoseOfTheirValues(TensorType type)
    {
        using var quantised = new TrainingModel(TrainingModel.Blocks, type);
        using var plain = new TrainingModel(TrainingModel.Blocks, type, TensorType.F32);
        TrainingChunk chunk = new(TrainingModel.Tokens(TrainingModel.Blocks, 150), 70);
        TrainingResult result = quantised.Train(quantised.State(4), chunk, new() { Epochs = 1 });
        float[] gradient = TrainingModel.Numbers(quantised.Trainer.Gradient!);
        TrainingResult expected = plain.Train(plain.State(4), chunk, new() { Epochs = 1 });
        float[] expectedGradient = TrainingModel.Numbers(plain.Trainer.Gradient!);

        double square = 0, size = 0;
        for (int i = 0; i < gradient.Length; i++)
        {
            square += Math.Pow(gradient[i] - expectedGradient[i], 2);
            size += Math.Pow(expectedGradient[i], 2);
        }

        // Integer products round activations to 8 bits per 32 values; float types do not.
        double deviation = Math.Sqrt(square / size), tolerance = type == TensorType.BF16 ? 1e-5 : 0.03;
        output.WriteLine($"{type}: loss {result.Losses[0]:F5} and {expected.Losses[0]:F5}, gradients deviate by {deviation:E2} of their norm");
        Assert.Equal(expected.Losses[0], result.Losses[0], tolerance);
        Assert.True(deviation < tolerance, $"the gradients deviate by {deviation} of their norm");
    }

    /// <summary>GGUF files of Llama models hold the rows of q and k interleaved: the way back has to undo that as the way forward does.</summary>
    [Fact]
    public void Gradients_OfInterleavedQueriesAndKeys_AreThoseOfTheSameModelInOrder()
    {
        DecoderConfig config = TrainingModel.Blocks with { Architecture = "llama" };
        using var interleaved = new TrainingModel(config, format: ModelFormat.Gguf);
        using var ordered = new TrainingModel(config);
        Assert.True(interleaved.Source.QueryKeyRowsInterleaved);
        Assert.False(ordered.Source.QueryKeyRowsInterleaved);
        TrainingChunk chunk = new(TrainingModel.Tokens(config, 100), 40);
        interleaved.Train(interleaved.State(4), chunk, new() { Epochs = 1 });
        ordered.Train(ordered.State(4), chunk, new() { Epochs = 1 });
        Assert.Equal(TrainingModel.Numbers(ordered.Trainer.Gradient!), TrainingModel.Numbers(interleaved.Trainer.Gradient!));
    }
}
