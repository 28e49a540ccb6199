using LongCtx.Engine.Files;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Tests.Models;

/// <summary>The three bundled models against what their publishers state.</summary>
public sealed class BundledModelTests
{
    [Fact]
    public void Open_SmolLM2_ReadsPublishedFigures()
    {
        using ModelSource source = ModelSource.Open(Repository.SmolLM2);

        DecoderConfig config = source.Decoder!;
        Assert.Null(source.Encoder);
        Assert.Equal(ModelFormat.Gguf, source.Format);
        Assert.Equal("llama", source.Architecture);
        Assert.Equal((30, 576, 9, 3, 64, 1536, 49152), (config.LayerCount, config.HiddenSize, config.QueryHeadCount, config.KeyValueHeadCount,
            config.HeadDimension, config.FeedForwardSize, config.VocabularySize));
        Assert.Equal((8192, 100_000.0, 64), (config.TrainedLength, config.RopeTheta, config.RopeDimension));
        Assert.Equal(RopeScaling.None, config.RopeScaling);
        Assert.Equal(1e-5f, config.NormEpsilon);
        Assert.True(config.TiedEmbeddings);
        Assert.False(config.HasQkvBias || config.HasQkNorm || config.HasAttentionOutputBias || config.HasFeedForwardBias);
        Assert.True(source.QueryKeyRowsInterleaved);
        Assert.Equal("Q4_1", source.Quantization);
        Assert.InRange(source.ParameterCount, 134_000_000, 135_000_000);
        Assert.Equal(new SpecialTokens(1, 2, "<|im_start|>", "<|im_end|>", AddBos: false), source.Special);
        Assert.Equal([2], source.StopIds);
        Assert.StartsWith("{% for message in messages %}", source.ChatTemplate);
        Assert.Equal(49152, source.Metadata!.Strings("tokenizer.ggml.tokens")!.Length);
        Assert.Equal(48900, source.Metadata.Strings("tokenizer.ggml.merges")!.Length);
        Assert.Equal([49152L, 576L], source.Require(TensorSlot.TokenEmbedding).Shape);
        Assert.Equal([192L, 576L], source.Require(TensorSlot.Key, layer: 29).Shape);
        Assert.Equal(TensorType.Q8_0, source.Require(TensorSlot.TokenEmbedding).Type);
        Assert.Null(source.Find(TensorSlot.Output));
    }

    [Fact]
    public void Open_Pg19_ReadsItsNote()
    {
        using ModelSource source = ModelSource.Open(Repository.Pg19);

        DecoderConfig config = source.Decoder!;
        Assert.Equal((8, 256, 4, 2, 64, 704, 4096), (config.LayerCount, config.HiddenSize, config.QueryHeadCount, config.KeyValueHeadCount,
            config.HeadDimension, config.FeedForwardSize, config.VocabularySize));
        Assert.Equal((512, 10_000.0, 64, 1e-5), (config.TrainedLength, config.RopeTheta, config.RopeDimension, config.NormEpsilon));
        Assert.True(config.TiedEmbeddings);
        Assert.False(source.QueryKeyRowsInterleaved);
        Assert.Equal("BF16", source.Quantization);
        Assert.InRange(source.ParameterCount, 6_940_000, 6_960_000);
        Assert.Equal(new SpecialTokens(0, 2, "<|endoftext|>", "<|im_end|>"), source.Special);
        Assert.Equal([2], source.StopIds);
        Assert.Contains("add_generation_prompt", source.ChatTemplate);
        Assert.Equal(Path.Combine(Repository.Pg19, "tokenizer.json"), source.TokenizerPath);
        Assert.Equal([256L, 704L], source.Require(TensorSlot.Down, layer: 7).Shape);
    }

    [Fact]
    public void Open_MiniLM_ReadsPublishedFigures()
    {
        using ModelSource source = ModelSource.Open(Repository.MiniLM);

        EncoderConfig config = source.Encoder!;
        Assert.Null(source.Decoder);
        Assert.Equal("bert", source.Architecture);
        Assert.Equal((6, 384, 12, 32, 1536, 30522), (config.LayerCount, config.HiddenSize, config.HeadCount, config.HeadDimension,
            config.FeedForwardSize, config.VocabularySize));
        Assert.Equal((512, 2, Pooling.Mean, 256, 1e-12), (config.PositionCount, config.TokenTypeCount, config.Pooling, config.MaximumLength, config.NormEpsilon));
        Assert.Equal("F16", source.Quantization);
        Assert.InRange(source.ParameterCount, 22_000_000, 23_000_000);
        Assert.Null(source.ChatTemplate);
        Assert.Equal([1536L, 384L], source.Require(TensorSlot.Up, layer: 5).Shape);
    }

    [Fact]
    public void Data_OfEveryBundledTensor_IsReadableAndFinite()
    {
        float[] row = new float[1536];
        foreach (string path in (string[])[Repository.SmolLM2, Repository.Pg19, Repository.MiniLM])
        {
            using ModelSource source = ModelSource.Open(path);
            foreach (TensorInfo tensor in source.File.Tensors.Values)
            {
                foreach (long index in (long[])[0, tensor.Rows - 1])
                {
                    Span<float> values = row.AsSpan(0, (int)tensor.Columns);
                    Dequantizer.ToFloat32(tensor.Type, source.File.Row(tensor, index), values);
                    foreach (float value in values) Assert.True(float.IsFinite(value) && Math.Abs(value) < 1000, $"{tensor.Name}: {value}");
                }
            }
        }
    }
}
