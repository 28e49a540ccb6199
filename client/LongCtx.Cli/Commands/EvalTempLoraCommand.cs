using System.CommandLine;
using LongCtx.Cli.Evaluation;
using LongCtx.Cli.Options;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Training;

namespace LongCtx.Cli.Commands;

internal static class EvalTempLoraCommand
{
    const int TokensMax = 1 << 16;
    const int AuthorTokens = 30_000;

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        var file = new Option<string>("--file") { Description = "Text to learn, UTF-8, white space at both ends left out. It is tokenised without template; no token is added.", HelpName = "F" };
        Option<int?> author = Value.OptionalInt("--author", $"Instead of a file: text by an invented author of this seed, {AuthorTokens} tokens unless --tokens says otherwise.", 0, int.MaxValue);
        Option<int> tokens = Value.Int("--tokens", "Read the first N tokens of the text; 0 is all of it.", 0, int.MaxValue, 0);
        var keepsSpace = new Option<bool>("--no-strip") { Description = "Keep white space at both ends of the text." };
        Option<int> chunk = Value.Int("--chunk", "Tokens that are scored, and then learned, at once.", 16, TokensMax, 256);
        Option<int> prefix = Value.Int("--prefix", "Tokens before a chunk while it is learned.", 0, TokensMax, 256);
        Option<int?> context = Value.OptionalInt("--context", "Tokens before a chunk while it is scored. Unset: as many as the prefix.", 1, TokensMax);
        Option<int> reuse = Value.Int("--cache-reuse", "Further chunks that a context's cache grows over before it is computed anew.", 0, 1 << 20, 0);
        Option<int> rank = Value.Int("--rank", "Rank of the adapter.", 1, AdapterSettings.RankMax, 16);
        Option<double> alpha = Value.Double("--alpha", "The low-rank product is scaled by alpha / rank.", 0, double.PositiveInfinity, 16, open: true);
        Option<string[]?> targets = AdapterChoice.Targets();
        Option<double> rate = Value.Double("--lr", "Learning rate of AdamW.", 0, 1, 1e-3, open: true);
        Option<int> epochs = Value.Int("--epochs", "Optimiser steps on each chunk.", 1, AdapterSettings.EpochsMax, 2);
        Option<string> mode = AdapterChoice.Mode();
        var guard = new Option<bool>("--guard") { Description = "Hold out the last tenth of each chunk, and reject updates that make it worse." };
        Option<ulong?> seed = Value.Seed("Of the adapter's first numbers. Unset: 0.");
        var policy = new PolicyChoice();
        Option<int> threads = Common.Threads();
        Option<bool> json = Common.Json();
        var command = new Command("temp-lora", "Perplexity of a text with and without a temporary adapter that learns it as it goes. Unless a policy is given, every chunk is scored behind a context that is computed anew.")
        {
            model, file, author, tokens, keepsSpace, chunk, prefix, context, reuse, rank, alpha, targets, rate, epochs, mode, guard, seed, threads, json,
        };
        policy.AddTo(command);
        command.RequireOne(file, author);
        command.Validators.Add(result =>
        {
            if (policy.IsGiven(result) && (Common.IsGiven(result, context) || Common.IsGiven(result, reuse))) result.AddError("--context and --cache-reuse are for contexts that are computed anew: with a policy, the text is one endless sequence");
        });
        command.SetAction(async (result, cancellation) =>
        {
            using var opened = DecoderFiles.Open(result.GetValue(model)!);
            AttentionPolicy? rule = policy.IsGiven(result.CommandResult) ? policy.ResolveForEvaluation(result, opened.Config.TrainedLength) : null;
            int size = result.GetValue(chunk), before = result.GetValue(context) ?? Math.Max(1, result.GetValue(prefix)), most = result.GetValue(tokens);
            if (result.GetValue(author) is not null && most == 0) most = AuthorTokens;
            string text = result.GetValue(author) is { } number ? new InventedAuthor(number).Write(most) : TextFile.Read(result.GetValue(file)!); // a word is one token or more
            int[] ids = opened.Tokenizer.Encode(result.GetValue(keepsSpace) ? text : text.Trim());
            if (most > 0 && ids.Length > most) ids = ids[..most];
            if (ids.Length < 2 * size) throw new LongCtxException(ErrorCode.InvalidRequest, $"the text has {ids.Length} tokens: at least two chunks of {size} are needed, because the first is neither scored nor learned", "file");

            bool isCached = result.GetValue(mode) == AdapterSettings.Cached;
            long window = (long)before + (long)(result.GetValue(reuse) + 1) * size;
            if (rule is null && Math.Max(window, result.GetValue(prefix) + size) > opened.Config.TrainedLength)
                terminal.Warn($"{Math.Max(window, result.GetValue(prefix) + size)} tokens are seen at once, and the model was trained on {opened.Config.TrainedLength}: expect nonsense beyond it");
            var options = new TrainingOptions { LearningRate = result.GetValue(rate), Epochs = result.GetValue(epochs) };
            var setup = new TempLoraSetup(size, result.GetValue(prefix), before, result.GetValue(reuse), rule, isCached, result.GetValue(guard), options);
            var layout = new LoraLayout(opened.Config, result.GetValue(rank), result.GetValue(alpha), AdapterChoice.TargetsOf(result.GetValue(targets)));
            using var runner = opened.Load(result.GetValue(threads), rule ?? new PolicyOptions("full").Resolve(opened.Config.TrainedLength), rule is null ? window : ids.Length, Math.Min(size, 512), sequences: 3);
            using var measurement = new TempLora(runner, ids, setup);
            TempLoraReport report = await terminal.WithProgressAsync("temp-lora", ids.Length,
                progress => measurement.Measure(LoraState.Create(layout, result.GetValue(seed) ?? 0), TempLoraCost.Of(opened.Config, 0), progress, cancellation));
            if (result.GetValue(json)) terminal.WriteJson(report);
            else Print(terminal, report);
            return App.Success;
        });
        return command;
    }

    static void Print(Terminal terminal, TempLoraReport report)
    {
        terminal.Print($"{report.Tokens} tokens scored: perplexity {report.BasePpl:F3} without and {report.LoraPpl:F3} with the adapter, a gain of {report.GainPercent:F2} %; {report.Seconds:F0} s, {report.TrainSeconds:F0} s of them learning ({report.Flops.TrainingPerToken / 1e9:F2} GFLOP a token), {report.Rejected} updates rejected, peak memory {report.PeakMemoryMb:F0} MB");
        terminal.Table(["from", "to", "without", "with", "gain %"], report.ByPosition.Select(r => (string[])
        [
            Text.Of(r.From), Text.Of(r.To), Text.Of(r.BasePpl, "F3"), Text.Of(r.LoraPpl, "F3"), Text.Of(100 * (1 - r.LoraPpl / r.BasePpl), "F2"),
        ]));
    }
}
