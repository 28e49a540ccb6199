using System.Text.Json;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Adapters;

/// <summary>
/// adapter_config.json to a layout. What would change the result and is not honoured is refused, and so is a setting that nobody here knows,
/// unless it is off.
/// </summary>
internal static class PeftConfig
{
    public const string FileName = "adapter_config.json";
    const double AlphaMax = 1e6;

    /// <summary>They describe how the adapter came about, or what else may be done with it.</summary>
    static readonly HashSet<string> s_harmless =
    [
        "base_model_name_or_path", "revision", "auto_mapping", "peft_version", "inference_mode", "lora_dropout", "loftq_config", "eva_config", "corda_config",
        "lora_ga_config", "megatron_config", "megatron_core", "qalora_group_size", "ensure_weight_tying",
    ];

    static readonly HashSet<string> s_read = ["peft_type", "task_type", "r", "lora_alpha", "use_rslora", "target_modules", "bias", "init_lora_weights"];

    static readonly Dictionary<string, string> s_cures = new()
    {
        ["use_dora"] = "weight-decomposed adapters (DoRA) are not supported: merge it into the model, or train a plain LoRA",
        ["fan_in_fan_out"] = "the projections of this architecture are stored [out, in]: train the adapter on the same model",
        ["modules_to_save"] = "modules saved whole are not supported: train the adapter without them",
        ["rank_pattern"] = "ranks that differ between modules are not supported: pad the smaller ones with zeros to one rank",
        ["alpha_pattern"] = "alphas that differ between modules are not supported: scale lora_B of those modules instead",
        ["layers_to_transform"] = "adapters of some layers are not supported: add zeros for the others",
        ["lora_bias"] = "biases are not supported: train the adapter without them",
        ["layer_replication"] = "replicated layers are not supported",
        ["trainable_token_indices"] = "trained token embeddings are not supported",
        ["target_parameters"] = "adapters of bare parameters are not supported",
        ["alora_invocation_tokens"] = "adapters that begin at an invocation token are not supported",
    };

    public static LoraLayout Read(string path, DecoderConfig model)
    {
        using JsonFile file = JsonFile.Open(path);
        var fields = new JsonFields(file, file.Root);
        RequireText(fields, "peft_type", "LORA");
        if (fields.Contains("task_type")) RequireText(fields, "task_type", "CAUSAL_LM");
        if (fields.Contains("bias")) RequireText(fields, "bias", "none");
        foreach ((string name, JsonElement value) in file.Members(file.Root))
        {
            if (s_read.Contains(name) || s_harmless.Contains(name) || IsOff(value)) continue;
            throw file.Fail(value, s_cures.TryGetValue(name, out string? cure) ? $"'{name}': {cure}" : $"'{Short(name)}' is a setting that LongCtx does not know: it cannot be honoured");
        }

        CheckInitialisation(file, fields);
        int rank = fields.Int("r", 1, LoraLayout.RankMax);
        double alpha = fields.Number("lora_alpha", 1e-6, AlphaMax);
        if (fields.Flag("use_rslora") is true) alpha *= Math.Sqrt(rank); // the scale is alpha / √r then, and that of the layout alpha / r
        return new(model, rank, alpha, Targets(file, fields));
    }

    static LoraTargets Targets(JsonFile file, JsonFields fields)
    {
        if (fields.Find("target_modules") is { ValueKind: JsonValueKind.String } text)
            return file.Text(text, "target_modules") == "all-linear"
                ? LoraTargets.All
                : throw file.Fail(text, "'target_modules' is a pattern: list the names of the modules instead, or say all-linear");
        LoraTargets targets = LoraTargets.None;
        foreach (JsonElement item in fields.Items("target_modules"))
        {
            string name = file.Text(item, "target_modules");
            LoraTargets target = PeftModules.TargetOf(name);
            if (target == LoraTargets.None) throw file.Fail(item, $"'target_modules' names '{Short(name)}', which is no projection of every layer of this model: it has {PeftModules.AllNames}");
            targets |= target;
        }

        return targets != LoraTargets.None ? targets : throw fields.Fail("target_modules", $"'target_modules' names no module: give some of {PeftModules.AllNames}");
    }

    /// <summary>Some initialisations take a part out of the frozen weights, which such an adapter then counts on.</summary>
    static void CheckInitialisation(JsonFile file, JsonFields fields)
    {
        if (fields.Find("init_lora_weights") is not { ValueKind: JsonValueKind.String } value) return;
        string name = file.Text(value, "init_lora_weights");
        if (name is not ("gaussian" or "eva" or "orthogonal"))
            throw file.Fail(value, $"'init_lora_weights' = '{Short(name)}' changes the model's own weights: save the adapter with PEFT's path_initial_model_for_weight_conversion");
    }

    static void RequireText(JsonFields fields, string key, string wanted)
    {
        string text = fields.Text(key) ?? throw fields.Missing(key);
        if (text != wanted) throw fields.Fail(key, $"'{key}' is '{Short(text)}'; only {wanted} is supported");
    }

    static bool IsOff(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Null or JsonValueKind.False => true,
        JsonValueKind.Array => value.GetArrayLength() == 0,
        JsonValueKind.Object => value.GetPropertyCount() == 0,
        _ => false,
    };

    static string Short(string text) => text.Length <= 60 ? text : text[..60] + "...";
}
