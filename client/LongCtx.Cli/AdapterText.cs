namespace LongCtx.Cli;

/// <summary>A temporary adapter in words and rows.</summary>
internal static class AdapterText
{
    public static readonly string[] Header = ["tokens", "version", "base loss", "loss", "after", "gain", "seconds", "rejected because"];

    /// <summary>"learns; version 3 since token 1024, learned up to token 1280, perplexity 21.8 % below the base model's"</summary>
    public static string Summary(AdapterInfo info)
    {
        if (info.Settings is null) return "it does not learn from its own text";
        string version = info.Version == 0 ? "the base model is in use" : $"version {info.Version} since token {info.FirstToken}";
        string gain = info.GainPercent switch
        {
            null => "",
            < 0 and var worse => FormattableString.Invariant($", perplexity {-worse:F1} % above the base model's"),
            var better => FormattableString.Invariant($", perplexity {better:F1} % below the base model's"),
        };
        return $"{(info.IsEnabled ? "learns" : "does not learn any more")}; {version}, learned up to token {info.TrainedTo}{gain}";
    }

    public static string Settings(AdapterSettings s)
    {
        string start = s.StartAfter is { } tokens ? FormattableString.Invariant($"from {tokens} tokens on") : "when the window is full";
        string guard = s.Guard ? "guarded" : "without guard";
        return FormattableString.Invariant(
            $"rank {s.Rank}, alpha {s.Alpha}, on {string.Join(",", s.Targets)}; learning rate {s.LearningRate}, {s.Epochs} epochs of {s.Chunk} tokens behind {s.Prefix}, {s.Mode}, {guard}, {start}");
    }

    /// <summary>Losses are in nats a token: under the base model, under the adapter before the chunk was learned, and after.</summary>
    public static string[] Row(AdapterUpdate update)
    {
        bool isKnown = update.Loss.Count > 0;
        double gain = isKnown ? 100 * (1 - Math.Exp(update.Loss[0] - update.BaseLoss)) : 0;
        return
        [
            $"{Text.Of(update.From)}..{Text.Of(update.To)}", update.Version == 0 ? "-" : Text.Of(update.Version), Text.Of(update.BaseLoss, "F3"),
            isKnown ? Text.Of(update.Loss[0], "F3") : "-", isKnown ? Text.Of(update.Loss[^1], "F3") : "-", isKnown ? Text.Of(gain, "F1") + " %" : "-", Text.Of(update.Seconds, "F1"), update.Rejected ?? "",
        ];
    }
}
