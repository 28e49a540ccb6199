using LongCtx.Engine.Files;
using static LongCtx.Engine.Models.ConfigLimits;

namespace LongCtx.Engine.Models;

/// <summary>GGUF metadata to configurations; the keys are those of gguf-py's constants.py.</summary>
internal static class GgufConfig
{
    public static string Architecture(GgufFile file)
    {
        const string key = "general.architecture";
        string name = file.Metadata.String(key) ?? throw new ModelFileException(file.Path, 0, $"metadata '{key}' is missing");
        return GgufArchitectures.Contains(name)
            ? name
            : throw file.Metadata.Fail(key, $"architecture '{name}' is not supported; supported are {string.Join(", ", GgufArchitectures)}");
    }

    public static DecoderConfig ReadDecoder(GgufFile file, string architecture)
    {
        GgufFields fields = new(file.Metadata, architecture);
        if (fields.Integer("expert_count") is > 0) throw fields.Fail("expert_count", "mixtures of experts are not supported");

        int hidden = fields.Int("embedding_length", 1, WidthMax);
        int heads = fields.Int("attention.head_count", 1, HeadCountMax);
        int keyValueHeads = fields.OptionalInt("attention.head_count_kv", 1, heads) ?? heads;
        if (heads % keyValueHeads != 0)
            throw fields.Fail("attention.head_count_kv", $"{heads} query heads cannot be shared out among {keyValueHeads} key-value heads");
        int headDimension = HeadDimension(fields, hidden, heads);
        int ropeDimension = fields.OptionalInt("rope.dimension_count", 2, headDimension) ?? headDimension;
        if (ropeDimension % 2 != 0) throw fields.Fail("rope.dimension_count", $"'rope.dimension_count' is {ropeDimension}; it must be even");
        int length = fields.Int("context_length", 1, LengthMax);
        int? window = fields.OptionalInt("attention.sliding_window", 0, LengthMax) is > 0 and int w ? w : null;

        bool Has(TensorSlot slot) => file.Tensors.ContainsKey(TensorNames.OfDecoder(ModelFormat.Gguf, slot)!);
        return new DecoderConfig
        {
            Architecture = architecture,
            LayerCount = fields.Int("block_count", 1, LayerCountMax),
            HiddenSize = hidden,
            QueryHeadCount = heads,
            KeyValueHeadCount = keyValueHeads,
            HeadDimension = headDimension,
            FeedForwardSize = fields.Int("feed_forward_length", 1, WidthMax),
            VocabularySize = VocabularySize(file, fields),
            NormEpsilon = fields.Number("attention.layer_norm_rms_epsilon", NormEpsilonMin, NormEpsilonMax),
            TrainedLength = Math.Min(length, window ?? length),
            SlidingWindow = window,
            RopeTheta = fields.OptionalNumber("rope.freq_base", ThetaMin, ThetaMax) ?? ThetaDefault,
            RopeDimension = ropeDimension,
            RopeScaling = GgufRopeScaling.Read(file, fields, ropeDimension, length),
            TiedEmbeddings = !Has(TensorSlot.Output),
            HasQkvBias = Has(TensorSlot.QueryBias),
            HasAttentionOutputBias = Has(TensorSlot.AttentionOutputBias),
            HasFeedForwardBias = Has(TensorSlot.DownBias),
            HasQkNorm = Has(TensorSlot.QueryNorm),
        };
    }

    public static EncoderConfig ReadEncoder(GgufFile file, string architecture)
    {
        GgufFields fields = new(file.Metadata, architecture);
        int hidden = fields.Int("embedding_length", 1, WidthMax);
        int heads = fields.Int("attention.head_count", 1, HeadCountMax);
        if (hidden % heads != 0) throw fields.Fail("attention.head_count", $"{heads} heads do not divide the width {hidden}");
        int positions = fields.Int("context_length", 1, LengthMax);
        return new EncoderConfig
        {
            Architecture = architecture,
            LayerCount = fields.Int("block_count", 1, LayerCountMax),
            HiddenSize = hidden,
            HeadCount = heads,
            FeedForwardSize = fields.Int("feed_forward_length", 1, WidthMax),
            VocabularySize = VocabularySize(file, fields),
            NormEpsilon = fields.Number("attention.layer_norm_epsilon", NormEpsilonMin, NormEpsilonMax),
            PositionCount = positions,
            TokenTypeCount = file.Metadata.Int("tokenizer.ggml.token_type_count") is > 0 and int types ? types : 2,
            Pooling = fields.OptionalInt("pooling_type", 0, 4) switch
            {
                null or 1 => Pooling.Mean,
                2 => Pooling.Cls,
                int other => throw fields.Fail("pooling_type", $"pooling type {other} is not supported; supported are 1 (mean) and 2 (cls)"),
            },
            MaximumLength = positions,
        };
    }

    static int HeadDimension(GgufFields fields, int hidden, int heads)
    {
        int? stated = fields.OptionalInt("attention.key_length", 2, HeadDimensionMax);
        if (stated is null && hidden % heads != 0) throw fields.Fail("attention.head_count", $"{heads} heads do not divide the width {hidden}");
        int dimension = stated ?? hidden / heads;
        if (dimension % 2 != 0 || dimension > HeadDimensionMax)
            throw fields.Fail("attention.key_length", $"heads of {dimension} dimensions; an even number up to {HeadDimensionMax} is needed");
        if (fields.Integer("attention.value_length") is { } values && values != dimension)
            throw fields.Fail("attention.value_length", $"values of {values} dimensions beside keys of {dimension} are not supported");
        return dimension;
    }

    /// <summary>The embedding has one row per token; the tokenizer may know fewer, never more.</summary>
    static int VocabularySize(GgufFile file, GgufFields fields)
    {
        TensorInfo embedding = file.Require(TensorNames.OfDecoder(ModelFormat.Gguf, TensorSlot.TokenEmbedding)!);
        long rows = embedding.Rows;
        if (rows > VocabularySizeMax)
            throw new ModelFileException(file.Path, embedding.Offset, $"tensor '{embedding.Name}' has {rows} rows; at most {VocabularySizeMax} are allowed");
        if (fields.Integer("vocab_size") is { } stated && stated != rows)
            throw fields.Fail("vocab_size", $"'vocab_size' is {stated} but tensor '{embedding.Name}' has {rows} rows");
        const string tokens = "tokenizer.ggml.tokens";
        if (file.Metadata.Strings(tokens) is { } known && known.Length > rows)
            throw file.Metadata.Fail(tokens, $"lists {known.Length} tokens but tensor '{embedding.Name}' has only {rows} rows");
        return (int)rows;
    }
}
