using System.CommandLine;
using LongCtx.Cli.Evaluation;
using LongCtx.Cli.Options;
using LongCtx.Engine.Cache;

namespace LongCtx.Cli.Commands;

internal static class EvalPerplexityCommand
{
    const int ChunkMax = 4096;
    const int ChunkDefault = 256;

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        var file = new Option<string>("--file") { Description = "Text to predict, UTF-8. It is tokenised without template; no token is added.", HelpName = "F", Required = true };
        Option<int> tokens = Value.Int("--tokens", "Read the first N tokens; all but the first are predicted. Unset: the whole file.", 2, int.MaxValue, int.MaxValue);
        Option<int> chunk = Value.Int("--chunk", "Tokens per step; has no effect on the figures but speed.", 1, ChunkMax, ChunkDefault);
        var policy = new PolicyChoice();
        Option<int> threads = Common.Threads();
        Option<bool> json = Common.Json();
        var command = new Command("ppl", "Perplexity of a text under a policy, by position. A capacity of 0, or one beyond the model's bound, is allowed here.")
        {
            model, file, tokens, chunk, threads, json,
        };
        policy.AddTo(command);
        command.SetAction(async (result, cancellation) =>
        {
            string text = TextFile.Read(result.GetValue(file)!);
            using var opened = DecoderFiles.Open(result.GetValue(model)!);
            AttentionPolicy rule = policy.ResolveForEvaluation(result, opened.Config.TrainedLength);
            int[] ids = Tokens(terminal, opened, text, result.GetValue(tokens), wished: result.IsGiven(tokens));
            if (PolicyChoice.Caution(rule, opened.Config.TrainedLength, ids.Length) is { } caution) terminal.Warn($"rule {rule}: {caution}");

            int step = result.GetValue(chunk);
            using var runner = opened.Load(result.GetValue(threads), rule, ids.Length, step);
            PerplexityReport report = await terminal.WithProgressAsync($"rule {rule}", ids.Length - 1,
                progress => Perplexity.Measure(runner, rule, ids, step, progress, cancellation));
            if (result.GetValue(json)) terminal.WriteJson(report);
            else Print(terminal, rule, report);
            return App.Success;
        });
        return command;
    }

    static int[] Tokens(Terminal terminal, DecoderFiles opened, string text, int most, bool wished)
    {
        int[] ids = opened.Tokenizer.Encode(text);
        if (ids.Length < 2)
            throw new LongCtxException(ErrorCode.InvalidRequest, $"the file has {ids.Length} tokens: at least 2 are needed", "file");
        if (wished && ids.Length < most) terminal.Warn($"the file has only {ids.Length} tokens, not {most}: all of them are used");
        return ids.Length > most ? ids[..most] : ids;
    }

    static void Print(Terminal terminal, AttentionPolicy rule, PerplexityReport report)
    {
        terminal.Print(
            $"{report.Tokens} tokens, rule {rule}: {report.MeanNll:F5} nats per token, perplexity {report.Ppl:F3}; {report.TokensPerSecond:F1} tokens/s, peak memory {report.PeakMemoryMb:F0} MB");
        terminal.Table(["from", "to", "perplexity"],
            report.ByPosition.Select(r => (string[])[Text.Of(r.From), Text.Of(r.To), Text.Of(r.Ppl, "F3")]));
    }
}
