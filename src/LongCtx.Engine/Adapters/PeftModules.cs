namespace LongCtx.Engine.Adapters;

/// <summary>What PEFT calls the projections and their matrices.</summary>
internal static class PeftModules
{
    const string LayerPrefix = "base_model.model.model.layers.";

    static readonly Dictionary<string, (LoraTargets Target, string Parent)> s_modules = new()
    {
        ["q_proj"] = (LoraTargets.Query, "self_attn"),
        ["k_proj"] = (LoraTargets.Key, "self_attn"),
        ["v_proj"] = (LoraTargets.Value, "self_attn"),
        ["o_proj"] = (LoraTargets.Output, "self_attn"),
        ["gate_proj"] = (LoraTargets.Gate, "mlp"),
        ["up_proj"] = (LoraTargets.Up, "mlp"),
        ["down_proj"] = (LoraTargets.Down, "mlp"),
    };

    public static string AllNames => string.Join(", ", s_modules.Keys);

    /// <summary>An entry of target_modules: q_proj, or self_attn.q_proj. One that names a module of a single layer, or none, gives <see cref="LoraTargets.None"/>.</summary>
    public static LoraTargets TargetOf(string module)
    {
        string[] parts = module.Split('.');
        if (!s_modules.TryGetValue(parts[^1], out (LoraTargets Target, string Parent) found)) return LoraTargets.None;
        return parts.Length == 1 || (parts.Length == 2 && parts[0] == found.Parent) ? found.Target : LoraTargets.None;
    }

    public static string NameOf(LoraTargets target) => s_modules.First(m => m.Value.Target == target).Key;

    /// <summary>Of A [r, in] or B [out, r] in adapter_model.safetensors.</summary>
    public static string TensorName(int layer, LoraTargets target, char matrix)
    {
        string module = NameOf(target);
        return FormattableString.Invariant($"{LayerPrefix}{layer}.{s_modules[module].Parent}.{module}.lora_{matrix}.weight");
    }

    /// <summary>Layer that a tensor's name speaks of; null when it is no number.</summary>
    public static int? LayerOf(string tensor) =>
        tensor.StartsWith(LayerPrefix, StringComparison.Ordinal)
        && int.TryParse(tensor.AsSpan(LayerPrefix.Length).SplitFirst('.'), System.Globalization.NumberStyles.None, null, out int layer) ? layer : null;

    static ReadOnlySpan<char> SplitFirst(this ReadOnlySpan<char> text, char separator) => text.IndexOf(separator) is >= 0 and var at ? text[..at] : text;
}
