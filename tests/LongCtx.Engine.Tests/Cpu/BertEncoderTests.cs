using System.Text.Json;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Kernels;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Tests.Cpu;

public sealed class BertEncoderTests
{
    static List<(int[] Ids, float[] Embedding)> Goldens()
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(Repository.Golden("minilm/embeddings.json")));
        return [.. golden.RootElement.EnumerateArray().Select(x => (
            x.GetProperty("ids").EnumerateArray().Select(i => i.GetInt32()).ToArray(),
            x.GetProperty("embedding").EnumerateArray().Select(i => i.GetSingle()).ToArray()))];
    }

    [Fact]
    public void Embed_OfTheGoldenTexts_EqualsPyTorch()
    {
        using ModelSource source = ModelSource.Open(Repository.MiniLM);
        using var workers = new WorkerPool(2);
        using BertEncoder encoder = BertEncoder.Load(source, workers);
        List<(int[] Ids, float[] Embedding)> goldens = Goldens();
        float[][] vectors = encoder.Embed([.. goldens.Select(g => g.Ids)]);
        for (int i = 0; i < goldens.Count; i++)
        {
            double dot = 0, worst = 0;
            for (int k = 0; k < vectors[i].Length; k++)
            {
                dot += vectors[i][k] * (double)goldens[i].Embedding[k];
                worst = Math.Max(worst, Math.Abs(vectors[i][k] - goldens[i].Embedding[k]));
            }

            Assert.True(worst < 1e-4, $"text {i}: worst difference {worst}"); // the golden has five digits
            Assert.Equal(1, dot, 1e-3);
        }
    }

    [Fact]
    public void Embed_OfATextAloneOrInCompany_GivesTheSameBits()
    {
        using ModelSource source = ModelSource.Open(Repository.MiniLM);
        using var workers = new WorkerPool(2);
        using BertEncoder encoder = BertEncoder.Load(source, workers);
        int[][] texts = [.. Goldens().Select(g => g.Ids)];
        float[][] together = encoder.Embed(texts);
        for (int i = 0; i < texts.Length; i++) Assert.Equal(together[i], encoder.Embed([texts[i]])[0]);
    }
}
