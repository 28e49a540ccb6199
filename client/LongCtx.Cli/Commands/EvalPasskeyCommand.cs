using System.CommandLine;
using LongCtx.Cli.Evaluation;
using LongCtx.Cli.Options;
using LongCtx.Engine.Cache;

namespace LongCtx.Cli.Commands;

internal static class EvalPasskeyCommand
{
    const int LengthMax = 10_000_000;
    const int CountMax = 10_000;
    const int Chunk = 256;

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        Option<int> length = Value.Int("--length", "Tokens of the whole prompt.", 1, LengthMax);
        Option<int> depth = Value.Int("--depth", "Tokens between the passkey and the question.", 0, LengthMax);
        Option<int> count = Value.Int("--count", "How many passkeys to ask for, each in a prompt of its own.", 1, CountMax);
        var filler = new Option<string>("--filler") { Description = "What the key is hidden in: one line repeated, or the text of --file.", Required = true };
        filler.AcceptOnlyFromAmong("repeated", "book");
        var file = new Option<string?>("--file") { Description = "The book, UTF-8; each prompt takes another passage.", HelpName = "F" };
        // SmolLM2, 600 tokens, depth 300, 10 keys: all found in either form; repeated 0.06 nats (chat) against 0.08 (raw), book 0.08 against 0.22.
        var form = new Option<string?>("--form")
        {
            Description = "raw: text to continue; chat: a user's message in the model's template. Unset: chat where the model has a template.",
        };
        form.AcceptOnlyFromAmong("raw", "chat");
        var policy = new PolicyChoice();
        Option<ulong?> seed = Value.Seed("Chooses keys and passages. Unset: 0.");
        Option<int> threads = Common.Threads();
        Option<bool> json = Common.Json();
        var command = new Command("passkey", "Whether the model finds a number of five digits far back in irrelevant text.")
        {
            model, length, depth, count, filler, file, form, seed, threads, json,
        };
        policy.AddTo(command);
        command.Validators.Add(result =>
        {
            if (result.GetResult(filler) is not { Errors: var errors } || errors.Any()) return;
            bool book = result.GetValue(filler) == "book", hasFile = Common.IsGiven(result, file);
            if (book && !hasFile) result.AddError("--filler book needs a text: give one with --file");
            if (!book && hasFile) result.AddError("--file has no meaning with --filler repeated");
        });
        command.SetAction(async (result, cancellation) =>
        {
            string? book = result.GetValue(file) is { } path ? TextFile.Read(path) : null;
            using var opened = DecoderFiles.Open(result.GetValue(model)!);
            AttentionPolicy rule = policy.ResolveForEvaluation(result, opened.Config.TrainedLength);
            int tokens = result.GetValue(length), prompts = result.GetValue(count);
            if (PolicyChoice.Caution(rule, opened.Config.TrainedLength, tokens) is { } caution) terminal.Warn($"rule {rule}: {caution}");

            (string opening, string closing) = (result.GetValue(form) ?? (opened.HasChatTemplate ? "chat" : "raw")) == "chat" ? opened.ChatFrame() : ("", "");
            var task = new PasskeyTask(text => opened.Tokenizer.Encode(text), book, opening, closing);
            ulong start = result.GetValue(seed) ?? 0;
            var random = new Random((int)(start ^ (start >> 32)));
            PasskeyPrompt[] all = [.. Enumerable.Range(0, prompts).Select(_ => task.Create(tokens, result.GetValue(depth), random))];

            using var runner = opened.Load(result.GetValue(threads), rule, tokens + 64, Chunk, sequences: 2);
            using var evaluation = new PasskeyEvaluation(runner, rule, ids => opened.Tokenizer.Decode(ids, skipSpecial: true));
            PasskeyReport report = await terminal.WithProgressAsync($"rule {rule}", (long)tokens * prompts, progress =>
            {
                int found = 0;
                double nll = 0;
                for (int i = 0; i < all.Length; i++)
                {
                    long before = (long)i * tokens;
                    (bool isFound, double keyNll) = evaluation.Ask(all[i], done => progress(before + done), cancellation);
                    if (isFound) found++;
                    nll += keyNll;
                }

                return new PasskeyReport(all.Length, found, nll / all.Length);
            });
            if (result.GetValue(json)) terminal.WriteJson(report);
            else terminal.Print($"{report.Found} of {report.Count} passkeys found, {report.MeanNll:F3} nats per key; rule {rule}");
            return App.Success;
        });
        return command;
    }
}
