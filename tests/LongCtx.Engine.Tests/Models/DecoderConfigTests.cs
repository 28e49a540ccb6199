using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Tests.Files;

namespace LongCtx.Engine.Tests.Models;

/// <summary>The Llama family as its members publish themselves, shrunk to a few kilobytes.</summary>
public sealed class DecoderConfigTests : IDisposable
{
    readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Fact]
    public void Open_LlamaGguf_HasTheWrittenConfiguration()
    {
        using ModelSource source = OpenGguf(TinyModel.Decoder, TensorType.Q4_0);

        Assert.Equal(TinyModel.Decoder, source.Decoder! with { NormEpsilon = 1e-5 });
        Assert.Equal("Q4_0", source.Quantization);
        Assert.True(source.QueryKeyRowsInterleaved);
    }

    [Fact]
    public void Open_LlamaDirectory_HasTheWrittenConfiguration()
    {
        using ModelSource source = OpenDirectory(TinyModel.DecoderJson(), TinyModel.Decoder);

        Assert.Equal(TinyModel.Decoder, source.Decoder);
        Assert.False(source.QueryKeyRowsInterleaved);
    }

    [Fact]
    public void Open_Qwen2_HasQkvBias()
    {
        DecoderConfig expected = TinyModel.Decoder with { Architecture = "qwen2", HasQkvBias = true };
        using (ModelSource source = OpenDirectory(TinyModel.DecoderJson("qwen2", "\"sliding_window\": 64, \"use_sliding_window\": false, \"max_window_layers\": 2"), expected))
        {
            Assert.Equal(expected, source.Decoder);
            Assert.Equal([16L], source.Require(TensorSlot.KeyBias, layer: 1).Shape);
        }

        using ModelSource gguf = OpenGguf(expected);
        Assert.Equal(expected, gguf.Decoder! with { NormEpsilon = 1e-5 });
        Assert.False(gguf.QueryKeyRowsInterleaved);
    }

    [Fact]
    public void Open_Qwen3_HasQkNormAndItsOwnHeadDimension()
    {
        DecoderConfig expected = TinyModel.Decoder with { Architecture = "qwen3", HasQkNorm = true, HeadDimension = 16, RopeDimension = 16 };
        using (ModelSource source = OpenDirectory(TinyModel.DecoderJson("qwen3", "\"head_dim\": 16, \"attention_bias\": false, \"sliding_window\": null"), expected))
        {
            Assert.Equal(expected, source.Decoder);
            Assert.Equal([64L, 32L], source.Require(TensorSlot.Query).Shape);
            Assert.Equal([16L], source.Require(TensorSlot.KeyNorm, layer: 1).Shape);
        }

        using ModelSource gguf = OpenGguf(expected);
        Assert.Equal(expected, gguf.Decoder! with { NormEpsilon = 1e-5 });
    }

    [Fact]
    public void Open_UntiedWithAllBiases_NeedsThoseTensors()
    {
        DecoderConfig expected = TinyModel.Decoder with { TiedEmbeddings = false, HasQkvBias = true, HasAttentionOutputBias = true, HasFeedForwardBias = true };
        string json = TinyModel.DecoderJson(more: "\"attention_bias\": true, \"mlp_bias\": true").Replace("\"tie_word_embeddings\": true, ", "");
        using (ModelSource source = OpenDirectory(json, expected))
        {
            Assert.Equal(expected, source.Decoder);
            Assert.NotNull(source.Find(TensorSlot.Output));
        }

        using (ModelSource gguf = OpenGguf(expected)) Assert.Equal(expected, gguf.Decoder! with { NormEpsilon = 1e-5 });
        AssertRefused(json, "tensor 'lm_head.weight' is missing; the configuration asks for [16, 32]", tensors: TinyModel.Decoder);
    }

    [Fact]
    public void Open_Mistral_ShortensTheTrainedLengthToItsWindow()
    {
        DecoderConfig expected = TinyModel.Decoder with { Architecture = "mistral", SlidingWindow = 96, TrainedLength = 96 };
        using (ModelSource source = OpenDirectory(TinyModel.DecoderJson("mistral", "\"sliding_window\": 96"), expected))
            Assert.Equal(expected, source.Decoder);
        using (ModelSource source = OpenDirectory(TinyModel.DecoderJson("mistral", "\"sliding_window\": null"), expected))
            Assert.Equal((128, null), (source.Decoder!.TrainedLength, source.Decoder.SlidingWindow));
        using ModelSource gguf = OpenGguf(TinyModel.Decoder, more: ("llama.attention.sliding_window", 96u));
        Assert.Equal((96, 96), (gguf.Decoder!.TrainedLength, gguf.Decoder.SlidingWindow));
    }

    [Theory]
    [InlineData("\"use_sliding_window\": true, \"sliding_window\": 64, \"max_window_layers\": 1", "max_window_layers")]
    [InlineData("\"use_sliding_window\": true, \"sliding_window\": 64, \"layer_types\": [\"full_attention\", \"sliding_attention\"]", "layer_types")]
    public void Open_MixtureOfWindowAndFullLayers_IsRefused(string more, string key) =>
        AssertRefused(TinyModel.DecoderJson("qwen2", more), "a mixture of full and sliding-window attention layers is not supported", at: $"\"{key}\": ");

    [Fact]
    public void Open_MissingOptionalKeys_TakeTheDefaultsOfTransformers()
    {
        string json = """
            { "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 128, "num_attention_heads": 4,
              "num_hidden_layers": 2, "vocab_size": 16 }
            """;
        DecoderConfig expected = TinyModel.Decoder with { KeyValueHeadCount = 4, NormEpsilon = 1e-6, TiedEmbeddings = false };
        using ModelSource source = OpenDirectory(json, expected);
        Assert.Equal(expected, source.Decoder);
    }

    [Theory]
    [InlineData("null", "UnscaledRope { }")]
    [InlineData("""{"rope_type": "default"}""", "UnscaledRope { }")]
    [InlineData("""{"type": "linear", "factor": 2.0}""", "LinearRope { Factor = 2 }")]
    [InlineData("""{"type": "ntk", "factor": 3}""", "NtkRope { Factor = 3 }")]
    [InlineData("""{"type": "dynamic", "factor": 2.5}""", "DynamicNtkRope { Factor = 2.5, OriginalLength = 128 }")]
    [InlineData("""{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 16, "truncate": false, "attention_factor": 1.5}""",
        "YarnRope { Factor = 4, OriginalLength = 32, BetaFast = 16, BetaSlow = 1, Truncate = False, AttentionScale = 1.5 }")]
    [InlineData("""{"rope_type": "yarn", "original_max_position_embeddings": 128, "mscale": 1.0, "mscale_all_dim": 1.0, "factor": 40}""",
        "YarnRope { Factor = 40, OriginalLength = 128, BetaFast = 32, BetaSlow = 1, Truncate = True, AttentionScale = 1 }")]
    [InlineData("""{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}""",
        "Llama3Rope { Factor = 8, LowFrequencyFactor = 1, HighFrequencyFactor = 4, OriginalLength = 64 }")]
    public void Open_RopeScaling_IsRead(string json, string expected)
    {
        using (ModelSource source = OpenDirectory(TinyModel.DecoderJson(more: $"\"rope_scaling\": {json}"), TinyModel.Decoder))
            Assert.Equal(expected, source.Decoder!.RopeScaling.ToString());
        using (ModelSource source = OpenDirectory(TinyModel.DecoderJson(more: $"\"rope_parameters\": {json}"), TinyModel.Decoder))
            Assert.Equal(expected, source.Decoder!.RopeScaling.ToString());
    }

    [Fact]
    public void Open_RopeParametersOfTransformers5_CarryTheBase()
    {
        string json = TinyModel.DecoderJson(more: """ "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0} """).Replace("\"rope_theta\": 10000.0,", "");
        using ModelSource source = OpenDirectory(json, TinyModel.Decoder);
        Assert.Equal(500_000, source.Decoder!.RopeTheta);
    }

    /// <summary>factor = 128/32 = 4: sqrt(1 + ln 4 / ln 32) = 1.1832159566199232.</summary>
    [Theory]
    [InlineData("longrope", "")]
    [InlineData("su", "")]
    [InlineData("longrope", "\"attention_factor\": 1.25,")]
    public void Open_LongRope_ReadsBothFactorLists(string type, string more)
    {
        string json = TinyModel.DecoderJson(more: $$"""
            "original_max_position_embeddings": 32, "rope_scaling": {"type": "{{type}}", {{more}} "short_factor": [1, 1.5, 2, 2.5], "long_factor": [2, 4, 8, 16]}
            """);
        using ModelSource source = OpenDirectory(json, TinyModel.Decoder);

        LongRope rope = Assert.IsType<LongRope>(source.Decoder!.RopeScaling);
        Assert.Equal([1, 1.5, 2, 2.5], rope.ShortFactors);
        Assert.Equal([2, 4, 8, 16], rope.LongFactors);
        Assert.Equal(32, rope.OriginalLength);
        Assert.Equal(more.Length > 0 ? 1.25 : 1.1832159566199232, rope.AttentionScale, 1e-12);
    }

    [Fact]
    public void Open_GgufRopeMetadata_IsRead()
    {
        Assert.Equal(new LinearRope(4), RopeOf(("llama.rope.scaling.type", "linear"), ("llama.rope.scaling.factor", 4f)));
        Assert.Equal(new LinearRope(2), RopeOf(("llama.rope.scale_linear", 2f)));
        Assert.Equal(RopeScaling.None, RopeOf(("llama.rope.scaling.type", "none")));
        YarnRope yarn = Assert.IsType<YarnRope>(RopeOf(("llama.rope.scaling.type", "yarn"), ("llama.rope.scaling.factor", 4f),
            ("llama.rope.scaling.original_context_length", 32u), ("llama.rope.scaling.attn_factor", 0.5f)));
        Assert.Equal((4.0, 32, 0.5 * 1.138629436111989), (yarn.Factor, yarn.OriginalLength, yarn.AttentionScale));

        RopeScaling RopeOf(params (string, object)[] more)
        {
            using ModelSource source = OpenGguf(TinyModel.Decoder, more: more);
            return source.Decoder!.RopeScaling;
        }
    }

    [Fact]
    public void Open_GgufRopeFactorTensors_AreRead()
    {
        GgufWriter writer = TinyModel.Gguf(TinyModel.Decoder).Add(TestTensor.Of("rope_freqs.weight", TensorType.F32, [4], [1, 1, 4, 8]));
        using (ModelSource source = ModelSource.Open(directory.Write("model.gguf", writer.ToArray())))
            Assert.Equal([1, 1, 4, 8], Assert.IsType<FactorRope>(source.Decoder!.RopeScaling).Factors);

        writer = TinyModel.Gguf(TinyModel.Decoder, more: [("llama.rope.scaling.original_context_length", 32u), ("llama.rope.scaling.attn_factor", 1.25f)])
            .Add(TestTensor.Of("rope_factors_short.weight", TensorType.F32, [4], [1, 1, 1, 2])).Add(TestTensor.Of("rope_factors_long.weight", TensorType.F32, [4], [1, 2, 3, 4]));
        using (ModelSource source = ModelSource.Open(directory.Write("model.gguf", writer.ToArray())))
        {
            LongRope rope = Assert.IsType<LongRope>(source.Decoder!.RopeScaling);
            Assert.Equal([1, 1, 1, 2], rope.ShortFactors);
            Assert.Equal([1, 2, 3, 4], rope.LongFactors);
            Assert.Equal((32, 1.25), (rope.OriginalLength, rope.AttentionScale));
        }

        writer = TinyModel.Gguf(TinyModel.Decoder).Add(TestTensor.Of("rope_freqs.weight", TensorType.F32, [4], [1, 0, 4, 8]));
        ModelFileException e = Assert.Throws<ModelFileException>(() => ModelSource.Open(directory.Write("model.gguf", writer.ToArray())));
        Assert.Contains("'rope_freqs.weight' holds a value outside", e.Message);
    }

    [Theory]
    [InlineData("\"num_attention_heads\": 4", "\"num_attention_heads\": 6", "6 heads do not divide the width 32")]
    [InlineData("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "4 query heads cannot be shared out among 3 key-value heads")]
    [InlineData("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 8", "'num_key_value_heads' is 8; 1 to 4 are allowed")]
    [InlineData("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0", "'num_hidden_layers' is 0; 1 to 1024 are allowed")]
    [InlineData("\"num_hidden_layers\": 2", "\"num_hidden_layers\": -2", "'num_hidden_layers' is -2")]
    [InlineData("\"hidden_size\": 32", "\"hidden_size\": 99999999999", "'hidden_size' is 99999999999")]
    [InlineData("\"hidden_size\": 32", "\"hidden_size\": 32.5", "'hidden_size' must be an integer but is Number")]
    [InlineData("\"hidden_size\": 32", "\"hidden_size\": \"32\"", "'hidden_size' must be an integer but is String")]
    [InlineData("\"hidden_size\": 32", "\"hidden_size\": 1e400", "'hidden_size' must be an integer")]
    [InlineData("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 0", "'rms_norm_eps' is 0")]
    [InlineData("\"rope_theta\": 10000.0", "\"rope_theta\": 1e400", "'rope_theta' must be a finite number")]
    [InlineData("\"hidden_act\": \"silu\"", "\"hidden_act\": \"relu\"", "'hidden_act' is 'relu'; only 'silu' is supported")]
    [InlineData("\"vocab_size\": 16", "\"vocab_size\": 17", "'model.embed_tokens.weight' has shape [16, 32] where the configuration asks for [17, 32]")]
    [InlineData("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "tensor 'model.layers.2.input_layernorm.weight' is missing")]
    [InlineData("\"model_type\": \"llama\"", "\"model_type\": \"gemma2\"", "architecture 'gemma2' is not supported; supported are llama, mistral, qwen2, qwen3, bert")]
    [InlineData("\"model_type\": \"llama\"", "\"model_type\": null", "'model_type' is missing")]
    [InlineData("\"vocab_size\": 16", "\"vocab_size\": 16, \"vocab_size\": 16", "is not valid JSON")]
    [InlineData("\"vocab_size\": 16", "\"vocab_size\": 16, \"quantization_config\": {}", "quantised Hugging Face checkpoints are not supported")]
    [InlineData("\"vocab_size\": 16", "\"vocab_size\": 16, \"rope_scaling\": {\"type\": \"mrope\"}", "RoPE scaling 'mrope' is not supported; supported are default,")]
    [InlineData("\"vocab_size\": 16", "\"vocab_size\": 16, \"rope_scaling\": {\"type\": \"linear\"}", "'factor' is missing")]
    [InlineData("\"vocab_size\": 16", "\"vocab_size\": 16, \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1], \"long_factor\": [1]}", "'short_factor' has 1 factors; 4 are needed")]
    [InlineData("\"vocab_size\": 16", "\"vocab_size\": 16, \"rope_scaling\": 7", "'rope_scaling' must be an object but is Number")]
    [InlineData("\"vocab_size\": 16", "\"vocab_size\": 16, \"eos_token_id\": [2, 16]", "'eos_token_id' must hold token ids below 16")]
    public void Open_WrongConfigJson_SaysWhatIsWrong(string from, string to, string problem)
    {
        string json = TinyModel.DecoderJson();
        Assert.Contains(from, json);
        AssertRefused(json.Replace(from, to), problem);
    }

    [Theory]
    [InlineData("llama.block_count", 0u, "'block_count' is 0")]
    [InlineData("llama.block_count", "two", "'llama.block_count' must be an integer but is String")]
    [InlineData("llama.attention.head_count_kv", 3u, "4 query heads cannot be shared out among 3 key-value heads")]
    [InlineData("llama.attention.key_length", 7u, "heads of 7 dimensions")]
    [InlineData("llama.attention.value_length", 16u, "values of 16 dimensions beside keys of 8")]
    [InlineData("llama.rope.dimension_count", 9u, "'rope.dimension_count' is 9; 2 to 8 are allowed")]
    [InlineData("llama.expert_count", 8u, "mixtures of experts are not supported")]
    [InlineData("llama.rope.scaling.type", "magic", "RoPE scaling 'magic' is not supported")]
    [InlineData("llama.vocab_size", 17u, "'vocab_size' is 17 but tensor 'token_embd.weight' has 16 rows")]
    [InlineData("llama.feed_forward_length", 128u, "tensor 'blk.0.ffn_gate.weight' has shape [64, 32] where the configuration asks for [128, 32]")]
    [InlineData("general.architecture", "mamba", "architecture 'mamba' is not supported; supported are llama, qwen2, qwen3, bert")]
    [InlineData("tokenizer.ggml.eos_token_id", 16u, "'tokenizer.ggml.eos_token_id' is 16 but the vocabulary has 16 tokens")]
    public void Open_WrongGgufMetadata_SaysWhatIsWrong(string key, object value, string problem)
    {
        GgufWriter original = TinyModel.Gguf(TinyModel.Decoder);
        string path = directory.Write("model.gguf", original.Replace(key, value).ToArray());
        ModelFileException e = Assert.Throws<ModelFileException>(() => ModelSource.Open(path));
        Assert.Contains(problem, e.Message);
        Assert.Equal(path, e.File);
        Assert.NotEqual(0, e.Offset);
    }

    [Fact]
    public void Open_HeadCountsPerLayer_AreFineWhileEqual()
    {
        string path = directory.Write("a.gguf", TinyModel.Gguf(TinyModel.Decoder).Replace("llama.attention.head_count_kv", new[] { 2, 2 }).ToArray());
        using (ModelSource source = ModelSource.Open(path)) Assert.Equal(2, source.Decoder!.KeyValueHeadCount);

        path = directory.Write("b.gguf", TinyModel.Gguf(TinyModel.Decoder).Replace("llama.attention.head_count_kv", new[] { 2, 1 }).ToArray());
        Assert.Contains("differs from layer to layer", Assert.Throws<ModelFileException>(() => ModelSource.Open(path)).Message);
    }

    ModelSource OpenGguf(DecoderConfig config, TensorType type = TensorType.Q8_0, params (string, object)[] more) =>
        ModelSource.Open(directory.Write("model.gguf", TinyModel.Gguf(config, type, more).ToArray()));

    ModelSource OpenDirectory(string json, DecoderConfig config) => ModelSource.Open(TinyModel.WriteDirectory(directory, json, config));

    /// <param name="at">Text in the JSON whose end the offset must point to.</param>
    void AssertRefused(string json, string problem, DecoderConfig? tensors = null, string? at = null)
    {
        string path = TinyModel.WriteDirectory(directory, json, tensors ?? TinyModel.Decoder);
        ModelFileException e = Assert.Throws<ModelFileException>(() => ModelSource.Open(path));
        Assert.Contains(problem, e.Message);
        Assert.StartsWith(directory.Path, e.File);
        if (at is not null) Assert.Equal(json.IndexOf(at, StringComparison.Ordinal) + at.Length, e.Offset);
    }
}
