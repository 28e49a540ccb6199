using LongCtx.Engine.Files;
using static LongCtx.Engine.Models.ConfigLimits;

namespace LongCtx.Engine.Models;

/// <summary>config.json to configurations; where a key is absent, the default is that of transformers' configuration class.</summary>
internal static class HuggingFaceConfig
{
    public static string Architecture(JsonFields fields)
    {
        string name = fields.Text("model_type") ?? throw fields.Missing("model_type");
        if (!HuggingFaceArchitectures.Contains(name))
            throw fields.Fail("model_type", $"architecture '{name}' is not supported; supported are {string.Join(", ", HuggingFaceArchitectures)}");
        if (fields.Contains("quantization_config"))
            throw fields.Fail("quantization_config", "quantised Hugging Face checkpoints are not supported; use the original weights or a GGUF file");
        return name;
    }

    public static DecoderConfig ReadDecoder(JsonFields fields, string architecture)
    {
        RequireText(fields, "hidden_act", "silu");
        int hidden = fields.Int("hidden_size", 1, WidthMax);
        int heads = fields.Int("num_attention_heads", 1, HeadCountMax);
        int keyValueHeads = fields.OptionalInt("num_key_value_heads", 1, heads) ?? heads;
        if (heads % keyValueHeads != 0)
            throw fields.Fail("num_key_value_heads", $"{heads} query heads cannot be shared out among {keyValueHeads} key-value heads");
        int? stated = fields.OptionalInt("head_dim", 2, HeadDimensionMax);
        if (stated is null && hidden % heads != 0) throw fields.Fail("num_attention_heads", $"{heads} heads do not divide the width {hidden}");
        int headDimension = stated ?? hidden / heads;
        if (headDimension % 2 != 0 || headDimension > HeadDimensionMax)
            throw fields.Fail("head_dim", $"heads of {headDimension} dimensions; an even number up to {HeadDimensionMax} is needed");
        double rotated = fields.OptionalNumber("partial_rotary_factor", 0, 1) ?? 1;
        int ropeDimension = (int)(headDimension * rotated);
        if (ropeDimension is < 2 || ropeDimension % 2 != 0)
            throw fields.Fail("partial_rotary_factor", $"rotates {ropeDimension} of {headDimension} dimensions; an even number is needed");

        int layers = fields.Int("num_hidden_layers", 1, LayerCountMax);
        int length = fields.OptionalInt("max_position_embeddings", 1, LengthMax) ?? fields.Int("max_sequence_length", 1, LengthMax);
        int? window = SlidingWindow(fields, architecture, layers);
        bool attentionBias = architecture is "llama" or "qwen3" && fields.Flag("attention_bias") is true;
        JsonFields? rope = fields.Object("rope_scaling") ?? fields.Object("rope_parameters");
        return new DecoderConfig
        {
            Architecture = architecture,
            LayerCount = layers,
            HiddenSize = hidden,
            QueryHeadCount = heads,
            KeyValueHeadCount = keyValueHeads,
            HeadDimension = headDimension,
            FeedForwardSize = fields.Int("intermediate_size", 1, WidthMax),
            VocabularySize = fields.Int("vocab_size", 1, VocabularySizeMax),
            NormEpsilon = fields.OptionalNumber("rms_norm_eps", NormEpsilonMin, NormEpsilonMax) ?? RmsNormEpsilonDefault,
            TrainedLength = Math.Min(length, window ?? length),
            SlidingWindow = window,
            RopeTheta = fields.OptionalNumber("rope_theta", ThetaMin, ThetaMax) ?? rope?.OptionalNumber("rope_theta", ThetaMin, ThetaMax) ?? ThetaDefault,
            RopeDimension = ropeDimension,
            RopeScaling = rope is null ? RopeScaling.None : HuggingFaceRopeScaling.Read(fields, rope, ropeDimension, length),
            TiedEmbeddings = fields.Flag("tie_word_embeddings") is true,
            HasQkvBias = architecture == "qwen2" || attentionBias,
            HasAttentionOutputBias = attentionBias,
            HasFeedForwardBias = architecture == "llama" && fields.Flag("mlp_bias") is true,
            HasQkNorm = architecture == "qwen3",
        };
    }

    /// <param name="pooling">1_Pooling/config.json, where there is one.</param>
    /// <param name="sentence">sentence_bert_config.json, where there is one.</param>
    public static EncoderConfig ReadEncoder(JsonFields fields, string architecture, JsonFields? pooling, JsonFields? sentence)
    {
        RequireText(fields, "hidden_act", "gelu");
        RequireText(fields, "position_embedding_type", "absolute");
        int hidden = fields.Int("hidden_size", 1, WidthMax);
        int heads = fields.Int("num_attention_heads", 1, HeadCountMax);
        if (hidden % heads != 0) throw fields.Fail("num_attention_heads", $"{heads} heads do not divide the width {hidden}");
        int positions = fields.Int("max_position_embeddings", 1, LengthMax);
        return new EncoderConfig
        {
            Architecture = architecture,
            LayerCount = fields.Int("num_hidden_layers", 1, LayerCountMax),
            HiddenSize = hidden,
            HeadCount = heads,
            FeedForwardSize = fields.Int("intermediate_size", 1, WidthMax),
            VocabularySize = fields.Int("vocab_size", 1, VocabularySizeMax),
            NormEpsilon = fields.OptionalNumber("layer_norm_eps", NormEpsilonMin, NormEpsilonMax) ?? 1e-12,
            PositionCount = positions,
            TokenTypeCount = fields.OptionalInt("type_vocab_size", 1, 1024) ?? 2,
            Pooling = pooling is null ? Pooling.Mean : ReadPooling(pooling),
            MaximumLength = sentence?.OptionalInt("max_seq_length", 1, positions) ?? positions,
        };
    }

    static Pooling ReadPooling(JsonFields fields)
    {
        string[] modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"];
        string[] chosen = [.. modes.Where(mode => fields.Flag("pooling_mode_" + mode) is true)];
        return chosen switch
        {
            ["mean_tokens"] => Pooling.Mean,
            ["cls_token"] => Pooling.Cls,
            [] => throw fields.Missing("pooling_mode_mean_tokens"),
            _ => throw fields.Fail("pooling_mode_" + chosen[^1], $"pooling by {string.Join(" and ", chosen)} is not supported; supported are mean_tokens or cls_token"),
        };
    }

    /// <summary>
    /// Null where attention is full. Qwen2 states a window but uses it only with use_sliding_window, from layer max_window_layers on;
    /// newer files list layer_types. A mixture of both kinds of layers cannot be honoured and is refused.
    /// </summary>
    static int? SlidingWindow(JsonFields fields, string architecture, int layers)
    {
        int? window = fields.OptionalInt("sliding_window", 1, LengthMax);
        if (window is null || architecture == "llama") return null;
        if (architecture is "qwen2" or "qwen3")
        {
            if (fields.Flag("use_sliding_window") is not true) return null;
            if (fields.Find("layer_types") is null && fields.OptionalInt("max_window_layers", 0, int.MaxValue) is int full and > 0)
                return full >= layers ? null : throw Mixed("max_window_layers");
        }

        string[] types = [.. fields.Items("layer_types").Select(item => item.ToString()).Distinct()];
        return types switch
        {
            [] or ["sliding_attention"] => window,
            ["full_attention"] => null,
            _ => throw Mixed("layer_types"),
        };

        ModelFileException Mixed(string key) => fields.Fail(key, "a mixture of full and sliding-window attention layers is not supported");
    }

    static void RequireText(JsonFields fields, string key, string expected)
    {
        if (fields.Text(key) is { } value && value != expected) throw fields.Fail(key, $"'{key}' is '{value}'; only '{expected}' is supported");
    }
}
