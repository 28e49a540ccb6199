using System.CommandLine;

namespace LongCtx.Cli.Options;

/// <summary>How tokens are drawn.</summary>
internal sealed class SamplingChoice
{
    readonly Option<float> _temperature;
    readonly Option<int> _topK = Value.Int("--top-k", "Keep the k most likely tokens; 0 keeps all.", 0, int.MaxValue, 0);
    readonly Option<float> _topP;
    readonly Option<float> _minP = Value.Float("--min-p", "Drop tokens less likely than this share of the most likely one.", 0, 1, 0);
    readonly Option<float> _repetition = Value.Float("--repetition-penalty", "Divides the logits of recent tokens; 1 is off.", 0, 10, 1, open: true);
    readonly Option<float> _presence = Value.Float("--presence-penalty", "Subtracted once from recent tokens.", -2, 2, 0);
    readonly Option<float> _frequency = Value.Float("--frequency-penalty", "Subtracted for each recent occurrence.", -2, 2, 0);
    readonly Option<int> _window = Value.Int("--penalty-window", "How many of the newest tokens the penalties look at.",
        0, SamplingOptions.PenaltyWindowMax, SamplingOptions.PenaltyWindowMax);
    readonly Option<ulong?> _seed;
    readonly Func<ulong> _defaultSeed;

    public SamplingChoice(float temperature, float topP, string seedDescription, Func<ulong> defaultSeed)
    {
        _temperature = Value.Float("--temperature", "0 always takes the most likely token.", 0, 2, temperature);
        _topP = Value.Float("--top-p", "Keep the fewest tokens whose probabilities reach this sum.", 0, 1, topP, open: true);
        _seed = Value.Seed(seedDescription);
        _defaultSeed = defaultSeed;
    }

    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_temperature, _topK, _topP, _minP, _repetition, _presence, _frequency, _window, _seed])
            command.Add(option);
    }

    public SamplingOptions Read(ParseResult result) => new()
    {
        Temperature = result.GetValue(_temperature),
        TopK = result.GetValue(_topK),
        TopP = result.GetValue(_topP),
        MinP = result.GetValue(_minP),
        RepetitionPenalty = result.GetValue(_repetition),
        PresencePenalty = result.GetValue(_presence),
        FrequencyPenalty = result.GetValue(_frequency),
        PenaltyWindow = result.GetValue(_window),
        Seed = result.GetValue(_seed) ?? _defaultSeed(),
    };
}
