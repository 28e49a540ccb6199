using System.Globalization;

namespace LongCtx.Engine.Cache;

/// <summary>
/// What a user asks for: a preset, or five explicit numbers. Resolved against a model's trained length and the length of a
/// conversation's system turn; a wish that cannot be honoured is refused with the bound.
/// </summary>
/// <param name="Preset">full, window, streaming, selfextend or endless.</param>
/// <param name="Capacity">Overrides the preset's capacity.</param>
/// <param name="Rule">The five numbers S,W,G,C,B; then the preset and capacity are not used.</param>
public sealed record PolicyOptions(string Preset = "endless", int? Capacity = null, AttentionPolicy? Rule = null)
{
    /// <summary>Share of the trained length that auto-chosen positions may use: high positions are under-trained (methods.md 1.2).</summary>
    const double ComfortableShare = 0.6;
    const int SinksMin = 4;
    const int SinksMax = 256;
    const int DefaultCapacityMax = 4096;

    public static readonly IReadOnlyList<string> Presets = ["full", "window", "streaming", "selfextend", "endless"];

    /// <summary>Reads "S,W,G,C,B".</summary>
    public static AttentionPolicy ParseRule(string text)
    {
        string[] parts = text.Split(',');
        var numbers = new int[5];
        bool valid = parts.Length == 5;
        for (int i = 0; valid && i < 5; i++)
            valid = int.TryParse(parts[i].Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out numbers[i]);
        if (!valid)
            throw new LongCtxException(ErrorCode.InvalidRequest, $"'{text}' is not a rule: give five whole numbers S,W,G,C,B, for instance 8,1024,4,4096,64", "rule");
        var policy = new AttentionPolicy(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]);
        if (policy.Contradiction() is { } problem) throw new LongCtxException(ErrorCode.InvalidRequest, $"rule {text}: {problem}", "rule");
        return policy;
    }

    /// <summary>The five numbers for one sequence.</summary>
    /// <param name="trainedLength">L of the model.</param>
    /// <param name="systemTokens">Tokens of BOS and system turn, which become the sinks; 0 where there are none.</param>
    /// <param name="allowBeyondReach">Let positions pass the trained length (evaluation does it on purpose).</param>
    /// <exception cref="LongCtxException">The wish contradicts itself or the model.</exception>
    public AttentionPolicy Resolve(int trainedLength, int systemTokens = 0, bool allowBeyondReach = false)
    {
        AttentionPolicy policy = Rule ?? FromPreset(trainedLength, systemTokens);
        string? problem = allowBeyondReach ? policy.Contradiction() : policy.Problem(trainedLength);
        if (problem is not null)
            throw new LongCtxException(ErrorCode.InvalidRequest, Rule is null ? $"policy {Preset}: {problem}" : $"rule {Rule}: {problem}", Rule is null ? "policy" : "rule");
        return policy;
    }

    AttentionPolicy FromPreset(int trainedLength, int systemTokens)
    {
        if (!Presets.Contains(Preset))
            throw new LongCtxException(ErrorCode.InvalidRequest, $"unknown policy '{Preset}': use one of {string.Join(", ", Presets)}", "policy");
        if (Capacity is <= 0)
            throw new LongCtxException(ErrorCode.InvalidRequest, $"capacity {Capacity} must be positive", "capacity");
        if (Preset == "full")
        {
            if (Capacity is { } unused)
                throw new LongCtxException(ErrorCode.InvalidRequest, $"policy full never evicts, so a capacity of {unused} has no meaning; use window, streaming or endless", "capacity");
            return new(0, 1, 1, 0, 1);
        }

        if (Preset == "selfextend")
        {
            int reach = Capacity ?? 2 * trainedLength;
            int group = Math.Max(2, AutoGroup(reach, trainedLength));
            var unlimited = new AttentionPolicy(0, NeighbourWindow(trainedLength, group), group, 0, group);
            if (reach > unlimited.Reach(trainedLength))
                throw new LongCtxException(ErrorCode.InvalidRequest, $"policy selfextend: capacity {reach} is larger than {unlimited.Reach(trainedLength)}, the bound for this model", "capacity");
            return unlimited;
        }

        int capacity = Capacity ?? Math.Min(trainedLength, DefaultCapacityMax);
        int g = Preset == "endless" && capacity > trainedLength ? AutoGroup(capacity, trainedLength) : 1;
        int block = Math.Max(capacity < 1024 ? 16 : 64, g);
        return Preset switch
        {
            "window" => new(0, 1, 1, capacity, block),
            "streaming" => new(SinkCount(systemTokens, 1, capacity), 1, 1, capacity, block),
            _ => new(SinkCount(systemTokens, g, capacity), NeighbourWindow(trainedLength, g), g, capacity, block),
        };
    }

    /// <summary>Smallest power of two G with W + (C - W)/G within the comfortable share of L; 1 while C fits L.</summary>
    static int AutoGroup(int capacity, int trainedLength)
    {
        if (capacity <= trainedLength) return 1;
        for (int group = 2; group <= 64; group *= 2)
        {
            int window = NeighbourWindow(trainedLength, group);
            if (window + (double)(capacity - window) / group <= ComfortableShare * trainedLength) return group;
        }
        return 64; // validation names the bound
    }

    static int NeighbourWindow(int trainedLength, int group) => Math.Max(1, (trainedLength / 8 + group / 2) / group) * group;

    /// <summary>Sinks hold BOS and the whole system turn, up to a cap (methods.md 1.5).</summary>
    static int SinkCount(int systemTokens, int group, int capacity)
    {
        int cap = Math.Min(SinksMax, capacity / 4) / group * group;
        int wanted = (Math.Max(SinksMin, systemTokens) + group - 1) / group * group;
        return Math.Min(wanted, cap);
    }
}
