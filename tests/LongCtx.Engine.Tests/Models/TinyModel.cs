using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Tests.Files;

namespace LongCtx.Engine.Tests.Models;

/// <summary>Random models of a few kilobytes, complete in every tensor, as GGUF or as a Hugging Face directory.</summary>
internal static class TinyModel
{
    public static readonly DecoderConfig Decoder = new()
    {
        Architecture = "llama", LayerCount = 2, HiddenSize = 32, QueryHeadCount = 4, KeyValueHeadCount = 2, HeadDimension = 8, FeedForwardSize = 64,
        VocabularySize = 16, NormEpsilon = 1e-5, TrainedLength = 128, RopeTheta = 10_000, RopeDimension = 8, TiedEmbeddings = true,
    };

    public static readonly EncoderConfig Encoder = new()
    {
        Architecture = "bert", LayerCount = 1, HiddenSize = 32, HeadCount = 4, FeedForwardSize = 64, VocabularySize = 16, NormEpsilon = 1e-12,
        PositionCount = 24, TokenTypeCount = 2, Pooling = Pooling.Mean, MaximumLength = 24,
    };

    /// <summary>Vectors in F32, matrices in <paramref name="type"/>.</summary>
    public static IEnumerable<TestTensor> Tensors(DecoderConfig config, ModelFormat format, TensorType type)
    {
        Random random = new(11);
        foreach (var (slot, layer, shape) in ModelShapes.Of(config))
            yield return TestTensor.Random(TensorNames.OfDecoder(format, slot, layer)!, shape.Length > 1 ? type : TensorType.F32, shape, random);
    }

    public static IEnumerable<TestTensor> Tensors(EncoderConfig config, ModelFormat format)
    {
        Random random = new(12);
        foreach (var (slot, layer, shape) in ModelShapes.Of(config))
            yield return TestTensor.Random(TensorNames.OfEncoder(format, slot, layer)!, TensorType.F32, shape, random);
    }

    public static GgufWriter Gguf(DecoderConfig config, TensorType type = TensorType.Q8_0, params (string Key, object Value)[] more)
    {
        string a = config.Architecture;
        GgufWriter writer = new GgufWriter()
            .Add("general.architecture", a)
            .Add($"{a}.block_count", (uint)config.LayerCount)
            .Add($"{a}.context_length", (uint)config.TrainedLength)
            .Add($"{a}.embedding_length", (uint)config.HiddenSize)
            .Add($"{a}.feed_forward_length", (uint)config.FeedForwardSize)
            .Add($"{a}.attention.head_count", (uint)config.QueryHeadCount)
            .Add($"{a}.attention.head_count_kv", (uint)config.KeyValueHeadCount)
            .Add($"{a}.attention.layer_norm_rms_epsilon", (float)config.NormEpsilon)
            .Add($"{a}.rope.freq_base", (float)config.RopeTheta);
        if (config.HeadDimension != config.HiddenSize / config.QueryHeadCount) writer.Add($"{a}.attention.key_length", (uint)config.HeadDimension);
        writer
            .Add("tokenizer.ggml.tokens", Enumerable.Range(0, config.VocabularySize).Select(i => $"t{i}").ToArray())
            .Add("tokenizer.ggml.eos_token_id", 2u);
        foreach (var (key, value) in more) writer.Add(key, value);
        foreach (TestTensor tensor in Tensors(config, ModelFormat.Gguf, type)) writer.Add(tensor);
        return writer;
    }

    /// <summary>config.json of <see cref="Decoder"/>; <paramref name="more"/> is JSON text of further members.</summary>
    public static string DecoderJson(string modelType = "llama", string more = "") => $$"""
        {
          "model_type": "{{modelType}}", "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 128,
          "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
          "tie_word_embeddings": true, "vocab_size": 16{{(more.Length > 0 ? ",\n  " : "")}}{{more}}
        }
        """;

    public const string EncoderJson = """
        {
          "model_type": "bert", "hidden_act": "gelu", "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 24, "num_attention_heads": 4,
          "num_hidden_layers": 1, "layer_norm_eps": 1e-12, "vocab_size": 16, "type_vocab_size": 2
        }
        """;

    public static string WriteDirectory(TemporaryDirectory directory, string configJson, DecoderConfig config)
    {
        directory.Write("config.json", configJson);
        directory.Write("model.safetensors", SafetensorsWriter.Write(Tensors(config, ModelFormat.HuggingFace, TensorType.BF16)));
        return directory.Path;
    }
}
