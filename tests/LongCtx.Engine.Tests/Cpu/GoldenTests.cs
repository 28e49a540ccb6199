using System.Text.Json;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Models;
using LongCtx.Engine.Runtime;

namespace LongCtx.Engine.Tests.Cpu;

/// <summary>Logits and greedy tokens against PyTorch in float32 (Golden/README.md).</summary>
public sealed class GoldenTests(ITestOutputHelper output)
{
    /// <summary>
    /// Largest difference of a logit and a difference of two logits below which a greedy step may go either way. pg19-7m is computed in
    /// float32 but for its f16 cache; SmolLM2's activations are rounded to 8 bits per 32 values where the golden has none.
    /// </summary>
    const double Pg19Tolerance = 0.02, SmolTolerance = 0.8;

    public static TheoryData<string, double> Models => new() { { "pg19-7m", Pg19Tolerance }, { "smollm2", SmolTolerance } };

    static string PathOf(string model) => model == "smollm2" ? Repository.SmolLM2 : Repository.Pg19;

    [Theory]
    [MemberData(nameof(Models))]
    public void Logits_AfterAPrompt_EqualTheGolden(string model, double tolerance)
    {
        using ModelSource source = ModelSource.Open(PathOf(model));
        using var runner = CpuModelRunner.Load(source, 2, 1L << 28);
        using var batch = new StepBatch();
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(Repository.Golden(model + "/prompts.json")));
        foreach (JsonElement prompt in golden.RootElement.EnumerateArray())
        {
            int[] ids = [.. prompt.GetProperty("ids").EnumerateArray().Select(x => x.GetInt32())];
            JsonElement first = prompt.TryGetProperty("first", out JsonElement f) ? f : prompt;
            using var sequence = new KvSequence(runner.Pool, new(0, 1, 1, 0, 1));
            batch.Clear();
            batch.Add(sequence, ids, LogitsKind.Last);
            runner.Step(batch);
            Span<float> logits = batch.Logits(0);
            double worst = 0, sum = 0, max = double.NegativeInfinity;
            foreach (float x in logits) max = Math.Max(max, x);
            foreach (float x in logits) sum += Math.Exp(x - max);
            foreach (JsonElement pair in first.GetProperty("top").EnumerateArray())
                worst = Math.Max(worst, Math.Abs(logits[pair[0].GetInt32()] - pair[1].GetDouble()));
            double logSumExp = max + Math.Log(sum);
            output.WriteLine($"{model}: largest difference of a logit {worst:F4}");
            Assert.True(worst < tolerance, $"a logit differs by {worst}");
            Assert.Equal(first.GetProperty("logsumexp").GetDouble(), logSumExp, tolerance);

            int step = 0;
            foreach (JsonElement expected in prompt.GetProperty("greedy").EnumerateArray())
            {
                int token = ArgMax(batch.Logits(0));
                if (token != expected[0].GetInt32())
                {
                    Assert.True(expected[1].GetDouble() < tolerance, $"greedy step {step}: {token} instead of {expected[0]} at a margin of {expected[1]}");
                    break;
                }

                batch.Clear();
                batch.Add(sequence, [token], LogitsKind.Last);
                runner.Step(batch);
                step++;
            }
        }
    }

    static int ArgMax(ReadOnlySpan<float> x)
    {
        int best = 0;
        for (int i = 1; i < x.Length; i++)
            if (x[i] > x[best]) best = i;
        return best;
    }
}
