using System.Text.Json;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Models;
using LongCtx.Engine.Training;

namespace LongCtx.Engine.Tests.Training;

/// <summary>Loss and gradients of all seven projections against PyTorch in float32 (Golden/README.md).</summary>
public sealed class GoldenGradientTests(ITestOutputHelper output)
{
    /// <summary>Both sides sum in float32, in other orders; the golden's first elements are rounded to six digits.</summary>
    const double LossTolerance = 1e-5, NormTolerance = 1e-4, ElementTolerance = 2e-4;

    static readonly (LoraTargets Target, string Name)[] Names =
    [
        (LoraTargets.Query, "self_attn.q_proj"), (LoraTargets.Key, "self_attn.k_proj"), (LoraTargets.Value, "self_attn.v_proj"), (LoraTargets.Output, "self_attn.o_proj"),
        (LoraTargets.Gate, "mlp.gate_proj"), (LoraTargets.Up, "mlp.up_proj"), (LoraTargets.Down, "mlp.down_proj"),
    ];

    [Fact]
    public void Gradients_OfAFixedInput_EqualTheGolden()
    {
        using ModelSource source = ModelSource.Open(Repository.Pg19);
        using var runner = CpuModelRunner.Load(source, 2, 1 << 20);
        using var trainer = new LoraTrainer(runner);
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(Repository.Golden("pg19-7m/lora_gradients.json")));
        int[] tokens = [.. golden.RootElement.GetProperty("tokens").EnumerateArray().Select(t => t.GetInt32())];
        LoraState state = Filled(new(source.Decoder!, rank: 4, alpha: 8, LoraTargets.All));

        using TrainingRun run = trainer.Begin(state, new(tokens, golden.RootElement.GetProperty("first_label").GetInt32()), new() { Epochs = 1 });
        while (!run.Slice(TimeSpan.MaxValue))
        {
        }

        double loss = golden.RootElement.GetProperty("loss").GetDouble(), worstNorm = 0, worstElement = 0;
        output.WriteLine($"loss {run.Result.Losses[0]:R} golden {loss:R}");
        Assert.Equal(loss, run.Result.Losses[0], LossTolerance);
        int checkedMatrices = 0;
        foreach (JsonProperty matrix in golden.RootElement.GetProperty("gradients").EnumerateObject())
        {
            (string layerText, string name) = (matrix.Name[..matrix.Name.IndexOf('.')], matrix.Name[(matrix.Name.IndexOf('.') + 1)..]);
            LoraTargets target = Names.Single(n => n.Name == name).Target;
            int layer = int.Parse(layerText);
            Compare(trainer.Gradient!.A(layer, target), matrix.Value, "A");
            Compare(trainer.Gradient!.B(layer, target), matrix.Value, "B");
            checkedMatrices += 2;
        }

        output.WriteLine($"{checkedMatrices} matrices: norms differ by {worstNorm:E1} at most, elements by {worstElement:E1} of their matrix's root mean square");
        Assert.Equal(2 * 7 * source.Decoder!.LayerCount, checkedMatrices);
        Assert.True(worstNorm < NormTolerance, $"a norm differs by {worstNorm}");
        Assert.True(worstElement < ElementTolerance, $"an element differs by {worstElement}");

        void Compare(ReadOnlySpan<float> gradient, JsonElement expected, string letter)
        {
            double norm = expected.GetProperty(letter + "_norm").GetDouble(), square = 0;
            foreach (float x in gradient) square += (double)x * x;
            worstNorm = Math.Max(worstNorm, Math.Abs(Math.Sqrt(square) / norm - 1));
            int i = 0;
            foreach (JsonElement x in expected.GetProperty(letter + "_first8").EnumerateArray())
                worstElement = Math.Max(worstElement, Math.Abs(x.GetDouble() - gradient[i++]) / (norm / Math.Sqrt(gradient.Length)));
        }
    }

    /// <summary>The golden's formula (its `about`), in double, then rounded.</summary>
    static LoraState Filled(LoraLayout layout)
    {
        LoraState state = LoraState.Create(layout, seed: 1);
        for (int layer = 0; layer < layout.Config.LayerCount; layer++)
            for (int m = 0; m < Names.Length; m++)
            {
                Fill(state.Weights.A(layer, Names[m].Target), 2 * (7 * layer + m) + 1);
                Fill(state.Weights.B(layer, Names[m].Target), 2 * (7 * layer + m) + 2);
            }

        return state;

        static void Fill(Span<float> x, int s)
        {
            for (int e = 0; e < x.Length; e++)
            {
                double y = e * 0.6180339887498949 + s * 0.7548776662466927;
                x[e] = (float)(0.1 * (y - Math.Floor(y) - 0.5));
            }
        }
    }
}
