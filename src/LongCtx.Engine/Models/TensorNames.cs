using LongCtx.Engine.Files;

namespace LongCtx.Engine.Models;

public enum ModelFormat { Gguf, HuggingFace }

/// <summary>The one table that maps slots to the names in files; * stands for the layer.</summary>
public static class TensorNames
{
    static readonly Dictionary<TensorSlot, (string Gguf, string? HuggingFace)> Decoder = new()
    {
        [TensorSlot.TokenEmbedding] = ("token_embd.weight", "model.embed_tokens.weight"),
        [TensorSlot.OutputNorm] = ("output_norm.weight", "model.norm.weight"),
        [TensorSlot.Output] = ("output.weight", "lm_head.weight"),
        [TensorSlot.RopeFactors] = ("rope_freqs.weight", null),
        [TensorSlot.RopeFactorsShort] = ("rope_factors_short.weight", null),
        [TensorSlot.RopeFactorsLong] = ("rope_factors_long.weight", null),
        [TensorSlot.AttentionNorm] = ("blk.*.attn_norm.weight", "model.layers.*.input_layernorm.weight"),
        [TensorSlot.Query] = ("blk.*.attn_q.weight", "model.layers.*.self_attn.q_proj.weight"),
        [TensorSlot.QueryBias] = ("blk.*.attn_q.bias", "model.layers.*.self_attn.q_proj.bias"),
        [TensorSlot.Key] = ("blk.*.attn_k.weight", "model.layers.*.self_attn.k_proj.weight"),
        [TensorSlot.KeyBias] = ("blk.*.attn_k.bias", "model.layers.*.self_attn.k_proj.bias"),
        [TensorSlot.Value] = ("blk.*.attn_v.weight", "model.layers.*.self_attn.v_proj.weight"),
        [TensorSlot.ValueBias] = ("blk.*.attn_v.bias", "model.layers.*.self_attn.v_proj.bias"),
        [TensorSlot.QueryNorm] = ("blk.*.attn_q_norm.weight", "model.layers.*.self_attn.q_norm.weight"),
        [TensorSlot.KeyNorm] = ("blk.*.attn_k_norm.weight", "model.layers.*.self_attn.k_norm.weight"),
        [TensorSlot.AttentionOutput] = ("blk.*.attn_output.weight", "model.layers.*.self_attn.o_proj.weight"),
        [TensorSlot.AttentionOutputBias] = ("blk.*.attn_output.bias", "model.layers.*.self_attn.o_proj.bias"),
        [TensorSlot.FeedForwardNorm] = ("blk.*.ffn_norm.weight", "model.layers.*.post_attention_layernorm.weight"),
        [TensorSlot.Gate] = ("blk.*.ffn_gate.weight", "model.layers.*.mlp.gate_proj.weight"),
        [TensorSlot.GateBias] = ("blk.*.ffn_gate.bias", "model.layers.*.mlp.gate_proj.bias"),
        [TensorSlot.Up] = ("blk.*.ffn_up.weight", "model.layers.*.mlp.up_proj.weight"),
        [TensorSlot.UpBias] = ("blk.*.ffn_up.bias", "model.layers.*.mlp.up_proj.bias"),
        [TensorSlot.Down] = ("blk.*.ffn_down.weight", "model.layers.*.mlp.down_proj.weight"),
        [TensorSlot.DownBias] = ("blk.*.ffn_down.bias", "model.layers.*.mlp.down_proj.bias"),
    };

    static readonly Dictionary<TensorSlot, (string Gguf, string? HuggingFace)> Encoder = new()
    {
        [TensorSlot.TokenEmbedding] = ("token_embd.weight", "embeddings.word_embeddings.weight"),
        [TensorSlot.PositionEmbedding] = ("position_embd.weight", "embeddings.position_embeddings.weight"),
        [TensorSlot.TokenTypeEmbedding] = ("token_types.weight", "embeddings.token_type_embeddings.weight"),
        [TensorSlot.EmbeddingNorm] = ("token_embd_norm.weight", "embeddings.LayerNorm.weight"),
        [TensorSlot.EmbeddingNormBias] = ("token_embd_norm.bias", "embeddings.LayerNorm.bias"),
        [TensorSlot.Query] = ("blk.*.attn_q.weight", "encoder.layer.*.attention.self.query.weight"),
        [TensorSlot.QueryBias] = ("blk.*.attn_q.bias", "encoder.layer.*.attention.self.query.bias"),
        [TensorSlot.Key] = ("blk.*.attn_k.weight", "encoder.layer.*.attention.self.key.weight"),
        [TensorSlot.KeyBias] = ("blk.*.attn_k.bias", "encoder.layer.*.attention.self.key.bias"),
        [TensorSlot.Value] = ("blk.*.attn_v.weight", "encoder.layer.*.attention.self.value.weight"),
        [TensorSlot.ValueBias] = ("blk.*.attn_v.bias", "encoder.layer.*.attention.self.value.bias"),
        [TensorSlot.AttentionOutput] = ("blk.*.attn_output.weight", "encoder.layer.*.attention.output.dense.weight"),
        [TensorSlot.AttentionOutputBias] = ("blk.*.attn_output.bias", "encoder.layer.*.attention.output.dense.bias"),
        [TensorSlot.AttentionNorm] = ("blk.*.attn_output_norm.weight", "encoder.layer.*.attention.output.LayerNorm.weight"),
        [TensorSlot.AttentionNormBias] = ("blk.*.attn_output_norm.bias", "encoder.layer.*.attention.output.LayerNorm.bias"),
        [TensorSlot.Up] = ("blk.*.ffn_up.weight", "encoder.layer.*.intermediate.dense.weight"),
        [TensorSlot.UpBias] = ("blk.*.ffn_up.bias", "encoder.layer.*.intermediate.dense.bias"),
        [TensorSlot.Down] = ("blk.*.ffn_down.weight", "encoder.layer.*.output.dense.weight"),
        [TensorSlot.DownBias] = ("blk.*.ffn_down.bias", "encoder.layer.*.output.dense.bias"),
        [TensorSlot.FeedForwardNorm] = ("blk.*.layer_output_norm.weight", "encoder.layer.*.output.LayerNorm.weight"),
        [TensorSlot.FeedForwardNormBias] = ("blk.*.layer_output_norm.bias", "encoder.layer.*.output.LayerNorm.bias"),
    };

    /// <summary>Name in a decoder's file; null where the format has none.</summary>
    public static string? OfDecoder(ModelFormat format, TensorSlot slot, int layer = 0) => Name(Decoder, format, slot, layer);

    public static string? OfEncoder(ModelFormat format, TensorSlot slot, int layer = 0) => Name(Encoder, format, slot, layer);

    /// <summary>Finds a slot's tensor; BERT checkpoints may carry the prefix of a larger model and call norms gamma and beta.</summary>
    internal static TensorInfo? Find(ModelFile file, string name)
    {
        if (file.TryFind(name, out TensorInfo? tensor) || file.TryFind("bert." + name, out tensor)) return tensor;
        string old = name.Replace("LayerNorm.weight", "LayerNorm.gamma").Replace("LayerNorm.bias", "LayerNorm.beta");
        return old != name && (file.TryFind(old, out tensor) || file.TryFind("bert." + old, out tensor)) ? tensor : null;
    }

    static string? Name(Dictionary<TensorSlot, (string Gguf, string? HuggingFace)> table, ModelFormat format, TensorSlot slot, int layer)
    {
        if (!table.TryGetValue(slot, out var names)) return null;
        string? pattern = format == ModelFormat.Gguf ? names.Gguf : names.HuggingFace;
        return pattern?.Replace("*", layer.ToString());
    }
}
