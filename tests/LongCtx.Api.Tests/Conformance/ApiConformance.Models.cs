using System.Net;
using System.Text.Json;
using OpenAI.Embeddings;
using OpenAI.Models;

namespace LongCtx.Api.Tests;

public abstract partial class ApiConformance
{
    [Fact]
    public async Task Models_ListedThroughTheSdk_AreTheHosts()
    {
        OpenAIModelCollection models = await client.GetOpenAIModelClient().GetModelsAsync(Cancellation);
        IReadOnlyList<ModelDescription> expected = await Host.ListModelsAsync(Cancellation);
        Assert.Equal(expected.Select(m => m.Id), models.Select(m => m.Id));
        Assert.Equal(expected.Select(m => m.Created), models.Select(m => m.CreatedAt.ToUnixTimeSeconds()));
    }

    [Fact]
    public async Task Models_OneByName_HasItsDetails()
    {
        foreach (ModelDescription expected in await Host.ListModelsAsync(Cancellation))
        {
            using HttpResponseMessage response = await Server.Http.GetAsync($"/v1/models/{expected.Id}", Cancellation);
            JsonElement model = await ApiServer.JsonAsync(response);
            Assert.Equal(expected.Id, model.GetProperty("id").GetString());
            Assert.Equal("model", model.GetProperty("object").GetString());
            Assert.Equal(expected.Policy, model.GetProperty("longctx").GetProperty("policy").GetString());
            Assert.Equal(expected.Kind, model.GetProperty("longctx").GetProperty("kind").GetString());
        }
    }

    [Fact]
    public async Task Models_UnknownName_IsNotFound()
    {
        using HttpResponseMessage response = await Server.Http.GetAsync("/v1/models/no/such", Cancellation);
        await response.AssertErrorAsync(404, "model_not_found", "model");
    }

    [Fact]
    public async Task Health_HostIsReady_Says200WithTheHostsStatus()
    {
        using HttpResponseMessage response = await Server.Http.GetAsync("/health", Cancellation);
        JsonElement report = await ApiServer.JsonAsync(response);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.True(report.GetProperty("live").GetBoolean());
        Assert.True(report.GetProperty("ready").GetBoolean());
        Assert.Equal((await Host.GetStatusAsync(Cancellation)).KvBlocksTotal, report.GetProperty("kv_blocks_total").GetInt32());
    }

    [Fact]
    public async Task Embeddings_ThroughTheSdk_AreUnitVectorsInOrder()
    {
        OpenAIEmbeddingCollection both = await Embeddings.GenerateEmbeddingsAsync(["a cat", "the sea"], cancellationToken: Cancellation);
        OpenAIEmbedding second = await Embeddings.GenerateEmbeddingAsync("the sea", cancellationToken: Cancellation);

        Assert.Equal([0, 1], both.Select(e => e.Index));
        Assert.All(both, e => Assert.Equal(1, e.ToFloats().ToArray().Sum(x => x * x), 1e-4));
        Assert.Equal(both[1].ToFloats().ToArray(), second.ToFloats().ToArray());
        Assert.NotEqual(both[0].ToFloats().ToArray(), second.ToFloats().ToArray());
        Assert.True(both.Usage.InputTokenCount >= 4);
        Assert.Equal(EmbeddingModel, both.Model);
    }

    [Fact]
    public async Task Embeddings_FloatAndBase64_AreTheSameVector()
    {
        JsonElement text = await EmbedAsync("float");
        JsonElement packed = await EmbedAsync("base64");
        float[] floats = [.. text.EnumerateArray().Select(x => x.GetSingle())];
        byte[] bytes = packed.GetBytesFromBase64();
        Assert.Equal(floats, Enumerable.Range(0, bytes.Length / 4).Select(i => BitConverter.ToSingle(bytes, i * 4)));

        async Task<JsonElement> EmbedAsync(string format)
        {
            using HttpResponseMessage response = await Server.PostAsync("/v1/embeddings", $$"""{"input":"a cat","encoding_format":"{{format}}"}""");
            return (await ApiServer.JsonAsync(response)).GetProperty("data")[0].GetProperty("embedding");
        }
    }
}
