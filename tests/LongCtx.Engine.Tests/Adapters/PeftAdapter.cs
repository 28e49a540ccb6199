using System.Text;
using System.Text.Json.Nodes;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Tests.Files;

namespace LongCtx.Engine.Tests.Adapters;

/// <summary>Adapters for tests: random numbers, and directories as PEFT writes them, spelled out here once more.</summary>
internal static class PeftAdapter
{
    static readonly (LoraTargets Target, string Module)[] Modules =
    [
        (LoraTargets.Query, "self_attn.q_proj"), (LoraTargets.Key, "self_attn.k_proj"), (LoraTargets.Value, "self_attn.v_proj"), (LoraTargets.Output, "self_attn.o_proj"),
        (LoraTargets.Gate, "mlp.gate_proj"), (LoraTargets.Up, "mlp.up_proj"), (LoraTargets.Down, "mlp.down_proj"),
    ];

    /// <param name="spread">Of the elements of B; those of A are about 1 / √in.</param>
    public static LoraWeights Random(DecoderConfig model, int seed, int rank = 4, double alpha = 8, LoraTargets targets = LoraTargets.All, float spread = 0.2f)
    {
        var random = new Random(seed);
        var weights = new LoraWeights(new(model, rank, alpha, targets));
        for (int layer = 0; layer < model.LayerCount; layer++)
            foreach (LoraTargets target in weights.Layout.PresentTargets)
            {
                float a = 1 / MathF.Sqrt(weights.Layout.Inputs(target));
                foreach (ref float x in weights.A(layer, target)) x = (random.NextSingle() * 2 - 1) * a;
                foreach (ref float x in weights.B(layer, target)) x = (random.NextSingle() * 2 - 1) * spread;
            }

        return weights;
    }

    public static JsonObject Config(LoraWeights weights) => new()
    {
        ["peft_type"] = "LORA", ["task_type"] = "CAUSAL_LM", ["base_model_name_or_path"] = "tiny", ["r"] = weights.Layout.Rank, ["lora_alpha"] = weights.Layout.Alpha,
        ["lora_dropout"] = 0.05, ["bias"] = "none", ["fan_in_fan_out"] = false, ["use_rslora"] = false, ["inference_mode"] = true, ["modules_to_save"] = null,
        ["rank_pattern"] = new JsonObject(), ["layers_to_transform"] = null, ["init_lora_weights"] = true,
        ["target_modules"] = new JsonArray([.. Modules.Where(m => weights.Layout.Targets.HasFlag(m.Target)).Select(m => (JsonNode)m.Module[(m.Module.IndexOf('.') + 1)..])]),
    };

    public static List<TestTensor> Tensors(LoraWeights weights, TensorType type = TensorType.F32)
    {
        List<TestTensor> tensors = [];
        LoraLayout layout = weights.Layout;
        for (int layer = 0; layer < layout.Config.LayerCount; layer++)
            foreach ((LoraTargets target, string module) in Modules.Where(m => layout.Targets.HasFlag(m.Target)))
            {
                string name = $"base_model.model.model.layers.{layer}.{module}.lora_";
                tensors.Add(TestTensor.Of(name + "A.weight", type, [layout.Rank, layout.Inputs(target)], weights.A(layer, target)));
                tensors.Add(TestTensor.Of(name + "B.weight", type, [layout.Outputs(target), layout.Rank], weights.B(layer, target)));
            }

        return tensors;
    }

    public static string Write(TemporaryDirectory directory, JsonObject config, IEnumerable<TestTensor> tensors)
    {
        directory.Write("adapter_config.json", Encoding.UTF8.GetBytes(config.ToJsonString()));
        directory.Write("adapter_model.safetensors", SafetensorsWriter.Write(tensors, new() { ["format"] = "pt" }));
        return directory.Path;
    }
}
