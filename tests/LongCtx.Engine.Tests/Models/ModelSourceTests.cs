using System.Text.Json;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Tests.Files;

namespace LongCtx.Engine.Tests.Models;

public sealed class ModelSourceTests : IDisposable
{
    readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Theory]
    [InlineData("""{"chat_template": "plain"}""", null, "plain")]
    [InlineData("""{"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "named"}]}""", null, "named")]
    [InlineData("""{"chat_template": [{"name": "tool_use", "template": "tools"}]}""", null, null)]
    [InlineData("""{"chat_template": "plain"}""", "from the file", "from the file")]
    [InlineData("""{"chat_template": null}""", null, null)]
    [InlineData(null, null, null)]
    public void ChatTemplate_OfADirectory_FollowsTransformers(string? tokenizerConfig, string? jinja, string? expected)
    {
        if (tokenizerConfig is not null) directory.Write("tokenizer_config.json", tokenizerConfig);
        if (jinja is not null) directory.Write("chat_template.jinja", jinja);
        using ModelSource source = OpenDirectory();

        Assert.Equal(expected, source.ChatTemplate);
        Assert.Equal(tokenizerConfig is null ? null : directory.File("tokenizer_config.json"), source.TokenizerConfigPath);
        Assert.Null(source.TokenizerPath);
    }

    [Fact]
    public void StopIds_OfADirectory_PreferGenerationConfigAndTakeLists()
    {
        using (ModelSource source = OpenDirectory(more: "\"eos_token_id\": 2, \"bos_token_id\": 1"))
        {
            Assert.Equal([2], source.StopIds);
            Assert.Equal((1, 2), (source.Special.BosId, source.Special.EosId));
        }

        directory.Write("generation_config.json", """{"eos_token_id": [5, 7, 5]}""");
        using (ModelSource source = OpenDirectory(more: "\"eos_token_id\": 2")) Assert.Equal([5, 7], source.StopIds);
        directory.Write("generation_config.json", """{"eos_token_id": null}""");
        using (ModelSource source = OpenDirectory(more: "\"eos_token_id\": [3, -1]")) Assert.Equal([3], source.StopIds);
        using (ModelSource source = OpenDirectory()) Assert.Empty(source.StopIds);
    }

    [Fact]
    public void Special_OfADirectory_TakesTextsFromStringsAndObjects()
    {
        directory.Write("tokenizer_config.json", """{"bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": "</s>", "add_bos_token": true}""");
        using ModelSource source = OpenDirectory();
        Assert.Equal(new SpecialTokens(null, null, "<s>", "</s>", true), source.Special);
    }

    [Fact]
    public void StopIds_OfGguf_HoldEosEndOfTurnAndWhatTheTemplateWrites()
    {
        string[] tokens = [.. Enumerable.Range(0, 16).Select(i => i == 9 ? "<|eot_id|>" : i == 10 ? "<|im_end|>" : $"t{i}")];
        int[] types = [.. Enumerable.Range(0, 16).Select(i => i is 9 or 10 ? 3 : 1)];

        using (ModelSource source = Open([("tokenizer.ggml.eot_token_id", 4u), ("tokenizer.ggml.bos_token_id", uint.MaxValue)]))
        {
            Assert.Equal([2, 4], source.StopIds);
            Assert.Equal(new SpecialTokens(null, 2, null, "t2"), source.Special);
        }

        using (ModelSource source = Open([("tokenizer.ggml.token_type", types), ("tokenizer.chat_template", "{{ x }}<|eot_id|>")]))
            Assert.Equal([2, 9], source.StopIds);

        ModelSource Open(params (string, object)[] more) => ModelSource.Open(directory.Write("model.gguf",
            TinyModel.Gguf(TinyModel.Decoder, more: more).Replace("tokenizer.ggml.tokens", tokens).ToArray()));
    }

    [Fact]
    public void Open_Encoder_ReadsPoolingLengthAndOldTensorNames()
    {
        directory.Write("1_Pooling/config.json", """{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}""");
        directory.Write("sentence_bert_config.json", """{"max_seq_length": 20, "do_lower_case": false}""");
        directory.Write("config.json", TinyModel.EncoderJson);
        IEnumerable<TestTensor> tensors = TinyModel.Tensors(TinyModel.Encoder, ModelFormat.HuggingFace)
            .Select(t => t with { Name = "bert." + t.Name.Replace("LayerNorm.weight", "LayerNorm.gamma").Replace("LayerNorm.bias", "LayerNorm.beta") });
        directory.Write("model.safetensors", SafetensorsWriter.Write(tensors));
        using ModelSource source = ModelSource.Open(directory.Path);

        Assert.Equal(TinyModel.Encoder with { Pooling = Pooling.Cls, MaximumLength = 20 }, source.Encoder);
        Assert.Equal("bert.embeddings.LayerNorm.gamma", source.Require(TensorSlot.EmbeddingNorm).Name);
        Assert.Equal("bert.encoder.layer.0.output.LayerNorm.beta", source.Require(TensorSlot.FeedForwardNormBias).Name);
    }

    [Theory]
    [InlineData("""{"pooling_mode_max_tokens": true}""", "pooling by max_tokens is not supported")]
    [InlineData("""{"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": true}""", "pooling by mean_tokens and max_tokens is not supported")]
    [InlineData("{}", "'pooling_mode_mean_tokens' is missing")]
    public void Open_EncoderWithOtherPooling_IsRefused(string pooling, string problem)
    {
        directory.Write("1_Pooling/config.json", pooling);
        directory.Write("config.json", TinyModel.EncoderJson);
        directory.Write("model.safetensors", SafetensorsWriter.Write(TinyModel.Tensors(TinyModel.Encoder, ModelFormat.HuggingFace)));
        Assert.Contains(problem, Assert.Throws<ModelFileException>(() => ModelSource.Open(directory.Path)).Message);
    }

    [Fact]
    public void Open_GgufEncoder_HasTheWrittenConfiguration()
    {
        EncoderConfig c = TinyModel.Encoder;
        GgufWriter writer = new GgufWriter().Add("general.architecture", "bert").Add("bert.block_count", 1u).Add("bert.context_length", 24u)
            .Add("bert.embedding_length", 32u).Add("bert.feed_forward_length", 64u).Add("bert.attention.head_count", 4u)
            .Add("bert.attention.layer_norm_epsilon", 1e-12f).Add("bert.pooling_type", 2u).Add("tokenizer.ggml.token_type_count", 2u);
        foreach (TestTensor tensor in TinyModel.Tensors(c, ModelFormat.Gguf)) writer.Add(tensor);
        using ModelSource source = ModelSource.Open(directory.Write("model.gguf", writer.ToArray()));

        Assert.Equal(c with { Pooling = Pooling.Cls }, source.Encoder! with { NormEpsilon = 1e-12 });
        Assert.Equal("blk.0.layer_output_norm.bias", source.Require(TensorSlot.FeedForwardNormBias).Name);
    }

    [Fact]
    public void Open_NeededTensorOfUnsupportedType_IsRefusedByName()
    {
        TestTensor[] tensors = [.. TinyModel.Tensors(TinyModel.Decoder, ModelFormat.HuggingFace, TensorType.F16)];
        string json = JsonSerializer.Serialize(tensors.Where(t => t.Name != "model.norm.weight").Aggregate(
            new Dictionary<string, object> { ["model.norm.weight"] = new { dtype = "F8_E4M3", shape = (long[])[32], data_offsets = (long[])[0, 32] } },
            (header, t) =>
            {
                long begin = 32 + header.Values.Count * 4096;
                header.Add(t.Name, new { dtype = t.Type.ToString(), shape = t.Shape, data_offsets = (long[])[begin, begin + t.Bytes.Length] });
                return header;
            }));
        directory.Write("config.json", TinyModel.DecoderJson());
        directory.Write("model.safetensors", SafetensorsWriter.Write(json, new byte[256 << 10]));

        ModelFileException e = Assert.Throws<ModelFileException>(() => ModelSource.Open(directory.Path));
        Assert.Contains("tensor 'model.norm.weight' is stored as F8_E4M3, which LongCtx does not read", e.Message);
    }

    [Fact]
    public void Open_WhatIsNoModel_SaysWhatToGive()
    {
        AssertRefused(directory.File("absent.gguf"), "does not exist; give a .gguf file or a Hugging Face directory");
        AssertRefused(directory.Write("notes.txt", "just some text, long enough"), "not a GGUF file");
        AssertRefused(directory.Write("empty.gguf", ""), "the file is empty");
        AssertRefused(directory.Write("model.safetensors", "x"), "give its directory, with config.json, instead");
        AssertRefused(directory.Path, "holds no config.json");
        File.Delete(directory.File("model.safetensors"));
        directory.Write("config.json", TinyModel.DecoderJson());
        AssertRefused(directory.Path, "holds neither model.safetensors nor model.safetensors.index.json");
        directory.Write("config.json", "[]");
        AssertRefused(directory.Path, "must hold a JSON object");
    }

    [Fact]
    public void Of_TensorsInMemory_NeedsNoFile()
    {
        DecoderConfig config = TinyModel.Decoder;
        using ModelSource source = ModelSource.Of(
            new MemoryModelFile([.. TinyModel.Tensors(config, ModelFormat.HuggingFace, TensorType.F32)]), ModelFormat.HuggingFace, config);
        Assert.Equal([64L, 32L], source.Require(TensorSlot.Gate, layer: 1).Shape);
        Assert.Null(source.Find(TensorSlot.QueryBias));
        Assert.Throws<ModelFileException>(() => source.Require(TensorSlot.QueryBias, layer: 1));
    }

    void AssertRefused(string path, string problem) => Assert.Contains(problem, Assert.Throws<ModelFileException>(() => ModelSource.Open(path)).Message);

    ModelSource OpenDirectory(string more = "") => ModelSource.Open(TinyModel.WriteDirectory(directory, TinyModel.DecoderJson(more: more), TinyModel.Decoder));
}
