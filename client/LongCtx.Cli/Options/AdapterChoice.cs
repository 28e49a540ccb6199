using System.CommandLine;
using LongCtx.Engine.Adapters;

namespace LongCtx.Cli.Options;

/// <summary>How a conversation learns from its own text.</summary>
internal sealed class AdapterChoice
{
    static readonly AdapterSettings Defaults = new();

    readonly Option<int> _rank = Value.Int("--rank", "Rank of the low-rank product.", 1, AdapterSettings.RankMax, Defaults.Rank);
    readonly Option<double> _alpha = Value.Double("--alpha", "The product is scaled by alpha / rank.", 0, double.PositiveInfinity, Defaults.Alpha, open: true);
    readonly Option<string[]?> _targets = Targets();
    readonly Option<double> _learningRate = Value.Double("--lr", "Learning rate of AdamW.", 0, 1, Defaults.LearningRate, open: true);
    readonly Option<int> _epochs = Value.Int("--epochs", "Optimiser steps on each chunk.", 1, AdapterSettings.EpochsMax, Defaults.Epochs);
    readonly Option<int> _chunk = Value.Int("--chunk", "Tokens that are learned at once.", AdapterSettings.ChunkMin, AdapterSettings.ChunkMax, Defaults.Chunk);
    readonly Option<int> _prefix = Value.Int("--prefix", "Tokens before a chunk that are its context while it is learned.", 0, AdapterSettings.PrefixMax, Defaults.Prefix);
    readonly Option<string> _mode = Mode();
    readonly Option<int?> _startAfter = Value.OptionalInt("--start-after", "Nothing is learned before the conversation has this many tokens. Unset: the capacity of its window.", 0, int.MaxValue);
    readonly Option<bool> _noGuard = new("--no-guard") { Description = "Keep every update. Otherwise the last tenth of a chunk is held out, and an update that makes it worse is rejected." };
    readonly Option<double> _dropout = Value.Double("--dropout", "Chance that an input of the low-rank path is left out while it learns; below 1.", 0, 1, Defaults.Dropout);
    readonly Option<double> _weightDecay = Value.Double("--weight-decay", "Weight decay of AdamW.", 0, 1, Defaults.WeightDecay);
    readonly Option<double> _gradientClip = Value.Double("--gradient-clip", "Largest norm of a gradient; 0 does not clip.", 0, double.PositiveInfinity, Defaults.GradientClip);
    readonly Option<int> _warmUp = Value.Int("--warm-up", "Chunks until the learning rate is whole.", 1, AdapterSettings.WarmUpMax, Defaults.WarmUp);
    readonly Option<int?> _maxStale = Value.OptionalInt("--max-stale", "Versions that the oldest key may be behind before the window is computed anew. Unset: any.", 1, int.MaxValue);

    public IReadOnlyList<Option> All =>
        [_rank, _alpha, _targets, _learningRate, _epochs, _chunk, _prefix, _mode, _startAfter, _noGuard, _dropout, _weightDecay, _gradientClip, _warmUp, _maxStale];

    public AdapterSettings Read(ParseResult result) => new()
    {
        Rank = result.GetValue(_rank),
        Alpha = result.GetValue(_alpha),
        Targets = result.GetValue(_targets) is { Length: > 0 } given ? given : Defaults.Targets,
        LearningRate = result.GetValue(_learningRate),
        Epochs = result.GetValue(_epochs),
        Chunk = result.GetValue(_chunk),
        Prefix = result.GetValue(_prefix),
        Mode = result.GetValue(_mode)!,
        StartAfter = result.GetValue(_startAfter),
        Guard = !result.GetValue(_noGuard),
        Dropout = result.GetValue(_dropout),
        WeightDecay = result.GetValue(_weightDecay),
        GradientClip = result.GetValue(_gradientClip),
        WarmUp = result.GetValue(_warmUp),
        MaxStale = result.GetValue(_maxStale),
    };

    public static Option<string[]?> Targets()
    {
        string all = string.Join(',', AdapterSettings.AllTargets);
        var option = new Option<string[]?>("--targets") { Description = $"Projections that are adapted, of {all}. Unset: all.", HelpName = "NAME,NAME,..." };
        option.CustomParser = argument =>
        {
            string text = Value.Single(argument);
            string[] names = text.Split(',');
            if (names.All(AdapterSettings.AllTargets.Contains) && names.Distinct(StringComparer.Ordinal).Count() == names.Length) return names;
            argument.AddError($"--targets '{text}' is not possible: give some of {all}, separated by commas");
            return null;
        };
        return option;
    }

    public static Option<string> Mode()
    {
        var option = new Option<string>("--mode")
        {
            Description = $"{AdapterSettings.Recompute} computes prefix and chunk anew, {AdapterSettings.Cached} learns against the conversation's live cache.",
            HelpName = "NAME", DefaultValueFactory = _ => Defaults.Mode,
        };
        option.AcceptOnlyFromAmong(AdapterSettings.Recompute, AdapterSettings.Cached);
        return option;
    }

    /// <summary>All of them where none are named.</summary>
    public static LoraTargets TargetsOf(string[]? names) => names is not { Length: > 0 } ? LoraTargets.All : names.Aggregate(LoraTargets.None, (all, name) => all | LoraNames.Of(name));
}
