using System.CommandLine;
using System.CommandLine.Parsing;
using LongCtx.Engine.Cache;

namespace LongCtx.Cli.Options;

/// <summary>--policy PRESET [--capacity C], or --rule S,W,G,C,B.</summary>
internal sealed class PolicyChoice
{
    readonly Option<string> _preset = new("--policy")
    {
        Description = "What is kept in view: full, window, streaming (sinks + window), selfextend, or endless (sinks + SelfExtend).",
        HelpName = "PRESET",
        DefaultValueFactory = _ => "endless",
    };

    readonly Option<int?> _capacity = Value.OptionalInt("--capacity",
        "Most tokens in view; 0 is unlimited. Unset: the trained length, at most 4096; selfextend: twice the trained length.", 0, int.MaxValue);

    readonly Option<string?> _rule = new("--rule")
    {
        Description = "The policy as five numbers: sinks, neighbour window, group, capacity (0 = unlimited), eviction block. For instance 8,1024,4,4096,64.",
        HelpName = "S,W,G,C,B",
    };

    public void AddTo(Command command)
    {
        command.Add(_preset);
        command.Add(_capacity);
        command.Add(_rule);
        command.Validators.Add(result =>
        {
            if (!Common.IsGiven(result, _rule)) return;
            if (Common.IsGiven(result, _preset)) result.AddError("--rule and --policy exclude each other: give one of them");
            if (Common.IsGiven(result, _capacity)) result.AddError("--capacity has no meaning with --rule: C is its fourth number");
        });
    }

    public bool IsGiven(SymbolResult result) => Common.IsGiven(result, _preset) || Common.IsGiven(result, _capacity) || Common.IsGiven(result, _rule);

    /// <summary>A capacity of 0 lifts the preset's limit: nothing is evicted, which is what 'full' does.</summary>
    public PolicyOptions Read(ParseResult result)
    {
        if (result.GetValue(_rule) is { } rule) return new(Rule: PolicyOptions.ParseRule(rule));
        string preset = result.GetValue(_preset)!;
        int? capacity = result.GetValue(_capacity);
        if (capacity != 0 || !PolicyOptions.Presets.Contains(preset)) return new(preset, capacity);
        return new(preset == "selfextend" ? preset : "full");
    }

    /// <summary>The five numbers for a model trained on <paramref name="trainedLength"/> positions, without system turn; any bound may be passed.</summary>
    public AttentionPolicy ResolveForEvaluation(ParseResult result, int trainedLength) =>
        Read(result).Resolve(trainedLength, systemTokens: 0, allowBeyondReach: true);

    /// <summary>What is unusual about a policy that only evaluation allows; null when all positions stay within the trained length.</summary>
    public static string? Caution(AttentionPolicy policy, int trainedLength, long tokens)
    {
        string? unlimited = policy.IsUnlimited ? "the capacity is unlimited: memory and time per token grow with the text" : null;
        long last = policy.IsUnlimited ? tokens : Math.Min(policy.Capacity, tokens);
        string? beyond = last > policy.Reach(trainedLength)
            ? $"positions pass the bound of {policy.Reach(trainedLength)} tokens for this model (trained length {trainedLength}): expect nonsense beyond it"
            : policy.BeyondReach(trainedLength);
        return unlimited is not null && beyond is not null ? $"{unlimited}; {beyond}" : unlimited ?? beyond;
    }
}
