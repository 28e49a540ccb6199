namespace LongCtx.Engine.Adapters;

/// <summary>The short names of projections in settings: q, k, v, o, gate, up, down.</summary>
public static class LoraNames
{
    /// <exception cref="ArgumentException">It is none of them.</exception>
    public static LoraTargets Of(string name) => name switch
    {
        "q" => LoraTargets.Query,
        "k" => LoraTargets.Key,
        "v" => LoraTargets.Value,
        "o" => LoraTargets.Output,
        "gate" => LoraTargets.Gate,
        "up" => LoraTargets.Up,
        "down" => LoraTargets.Down,
        _ => throw new ArgumentException($"'{name}' is no projection: use q, k, v, o, gate, up or down", nameof(name)),
    };
}
