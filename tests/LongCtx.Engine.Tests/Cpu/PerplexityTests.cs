using System.Text.Json;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Models;
using LongCtx.Engine.Runtime;

namespace LongCtx.Engine.Tests.Cpu;

/// <summary>NLL sums of book text under every kind of policy against PyTorch in float32 (Golden/README.md).</summary>
public sealed class PerplexityTests(ITestOutputHelper output)
{
    /// <summary>
    /// Nats per token that a sum may differ by. pg19-7m runs in float32 with an f16 cache. SmolLM2's products take activations of 8 bits,
    /// which makes single tokens noisy and leaves the mean.
    /// </summary>
    const double Pg19Tolerance = 0.003, SmolTolerance = 0.02;

    static readonly Dictionary<string, int[]> Tokens = [];

    public static TheoryData<string, int> Cases()
    {
        var cases = new TheoryData<string, int>();
        foreach (string model in (string[])["pg19-7m", "smollm2"])
        {
            using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Golden", model, "ppl.json")));
            for (int i = 0; i < golden.RootElement.GetProperty("cases").GetArrayLength(); i++) cases.Add(model, i);
        }

        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void NllSums_OfABook_EqualTheGolden(string model, int index)
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(Repository.Golden(model + "/ppl.json")));
        JsonElement golds = golden.RootElement.GetProperty("cases")[index], p = golds.GetProperty("policy");
        int Number(string name) => p.GetProperty(name).ValueKind == JsonValueKind.Null ? 0 : p.GetProperty(name).GetInt32();
        var policy = new AttentionPolicy(Number("S"), Number("W"), Number("G"), Number("C"), Number("B"));
        bool smol = model == "smollm2";
        double tolerance = smol ? SmolTolerance : Pg19Tolerance;
        using ModelSource source = ModelSource.Open(smol ? Repository.SmolLM2 : Repository.Pg19);
        int[] tokens = Book(source, golden.RootElement.GetProperty("book").GetString()!, golden.RootElement.GetProperty("tokens").GetInt32());
        using var runner = CpuModelRunner.Load(source, 2, 1L << 29);
        float[] logprobs = Score(runner, policy, tokens, smol ? 100 : 333);

        double worst = 0, sum = 0;
        int at = 0;
        foreach (JsonElement check in golds.GetProperty("nll_sum_at").EnumerateArray())
        {
            for (; at < check[0].GetInt32(); at++) sum -= logprobs[at];
            worst = Math.Max(worst, Math.Abs(sum - check[1].GetDouble()) / at);
        }

        output.WriteLine($"{model} {policy}: largest difference of a sum {worst:F5} nats per token");
        Assert.True(worst < tolerance, $"{policy}: a sum differs by {worst} nats per token");
        if (smol) return;
        double[] first = [.. golds.GetProperty("per_token_first_64").EnumerateArray().Select(x => x.GetDouble())];
        for (int i = 0; i < first.Length; i++) Assert.Equal(first[i], -logprobs[i], 0.03);
    }

    static int[] Book(ModelSource source, string name, int count)
    {
        string key = source.Path + name;
        lock (Tokens)
        {
            if (!Tokens.TryGetValue(key, out int[]? ids))
                Tokens[key] = ids = ModelTokenizer.Load(source).Encode(File.ReadAllText(Repository.Golden("books/" + name)));
            return ids[..count];
        }
    }

    static float[] Score(CpuModelRunner runner, AttentionPolicy policy, int[] tokens, int chunk)
    {
        using var sequence = new KvSequence(runner.Pool, policy);
        using var batch = new StepBatch();
        var logprobs = new float[tokens.Length - 1];
        for (int at = 0; at < logprobs.Length; at += chunk)
        {
            int count = Math.Min(chunk, logprobs.Length - at);
            batch.Clear();
            batch.AddScored(sequence, tokens.AsSpan(at, count), tokens.AsSpan(at + 1, count));
            runner.Step(batch);
            batch.Logprobs(0).CopyTo(logprobs.AsSpan(at));
        }

        return logprobs;
    }
}
