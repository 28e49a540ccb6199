using System.Text.Json;
using LongCtx.Api.Json;

namespace LongCtx.Api.Conversations;

/// <summary>How a conversation learns from its own text. A setting that is left out is the default.</summary>
internal static class AdapterReader
{
    const string Field = "adapter";

    /// <summary>The field `adapter` of a conversation that is created; null where it is not there.</summary>
    public static AdapterSettings? ReadWithin(JsonFields fields) => fields.Object(Field) is { } settings ? Read(settings, Field + ".") : null;

    /// <param name="fields">All of them are settings.</param>
    /// <param name="path">Of the settings in the body, for errors.</param>
    public static AdapterSettings Read(JsonFields fields, string path = "")
    {
        AdapterSettings defaults = new();
        AdapterSettings settings = new()
        {
            Rank = fields.Integer("rank", 1, AdapterSettings.RankMax) ?? defaults.Rank,
            Alpha = fields.Double("alpha") ?? defaults.Alpha,
            Targets = Targets(fields) ?? defaults.Targets,
            LearningRate = fields.Double("learning_rate") ?? defaults.LearningRate,
            Epochs = fields.Integer("epochs", 1, AdapterSettings.EpochsMax) ?? defaults.Epochs,
            Chunk = fields.Integer("chunk", AdapterSettings.ChunkMin, AdapterSettings.ChunkMax) ?? defaults.Chunk,
            Prefix = fields.Integer("prefix", 0, AdapterSettings.PrefixMax) ?? defaults.Prefix,
            Mode = fields.Text("mode") ?? defaults.Mode,
            StartAfter = fields.Long("start_after", 0),
            Guard = fields.Flag("guard") ?? defaults.Guard,
            Dropout = fields.Double("dropout") ?? defaults.Dropout,
            WeightDecay = fields.Double("weight_decay") ?? defaults.WeightDecay,
            GradientClip = fields.Double("gradient_clip") ?? defaults.GradientClip,
            WarmUp = fields.Integer("warm_up", 1, AdapterSettings.WarmUpMax) ?? defaults.WarmUp,
            MaxStale = fields.Integer("max_stale", 1, int.MaxValue),
        };
        fields.RefuseOthers();
        settings.Validate(path);
        return settings;
    }

    static string[]? Targets(JsonFields fields)
    {
        if (!fields.Take("targets", out JsonElement value)) return null;
        string name = fields.Name("targets");
        if (value.ValueKind != JsonValueKind.Array) throw ApiException.Type(name, "an array of strings", value.Kind());
        return [.. value.EnumerateArray().Select((target, i) => target.Text($"{name}[{i}]"))];
    }
}
