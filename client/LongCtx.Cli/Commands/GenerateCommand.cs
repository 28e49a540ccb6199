using System.CommandLine;
using LongCtx.Cli.Options;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Cli.Commands;

internal static class GenerateCommand
{
    sealed record Report(IReadOnlyList<int> PromptIds, IReadOnlyList<int> Ids, string Text);

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        var prompt = new Option<string?>("--prompt") { Description = "The prompt itself.", HelpName = "T" };
        var file = new Option<string?>("--prompt-file") { Description = "A file with the prompt, UTF-8.", HelpName = "F" };
        var raw = new Option<bool>("--raw") { Description = "Continue the text as it stands, without chat template." };
        Option<int> maxTokens = Value.Int("--max-tokens", "Most tokens to generate.", 1, int.MaxValue, 256);
        var ignoreEos = new Option<bool>("--ignore-eos") { Description = "Go on where the model would end its reply." };
        var stop = new Option<string[]>("--stop") { Description = "A text that ends the reply; may be given several times.", HelpName = "T" };
        var policy = new PolicyChoice();
        var sampling = new SamplingChoice(temperature: 0, topP: 1, "Makes sampling repeatable. Unset: 0.", () => 0);
        Option<int> threads = Common.Threads();
        Option<bool> json = Common.Json();
        var command = new Command("generate", "One reply to one prompt; greedy unless a temperature is given.")
        {
            model, prompt, file, raw, maxTokens, ignoreEos, stop, threads, json,
        };
        sampling.AddTo(command);
        policy.AddTo(command);
        command.RequireOne(prompt, file);
        command.SetAction(async (result, cancellation) =>
        {
            string text = result.GetValue(prompt) ?? TextFile.Read(result.GetValue(file)!);
            await using var engine = new InferenceEngine(new EngineOptions { Threads = result.GetValue(threads) });
            DecoderModel loaded = await ModelFiles.LoadDecoderAsync(engine, result.GetValue(model)!);
            (int[] ids, int systemTokens) = result.GetValue(raw) ? (loaded.Tokenizer.Encode(text), 0) : ChatPrompt(loaded, text);
            if (ids.Length == 0) throw new LongCtxException(ErrorCode.InvalidRequest, "the prompt is empty: give at least one character", "prompt");

            AttentionPolicy rule = policy.Resolve(result, loaded.TrainedLength, systemTokens);
            Sequence sequence = engine.CreateSequence(loaded, rule);
            Generation generation = engine.Submit(new GenerationRequest
            {
                Sequence = sequence,
                Tokens = ids,
                Sampling = sampling.Read(result),
                MaxTokens = result.GetValue(maxTokens),
                StopTokens = result.GetValue(ignoreEos) ? new HashSet<int>() : loaded.StopTokens,
                StopTexts = result.GetValue(stop) ?? [],
            });
            bool asJson = result.GetValue(json);
            GenerationResult reply = await ReadAsync(terminal, generation, echo: !asJson, cancellation);
            if (asJson) terminal.WriteJson(new Report(ids, reply.Ids, reply.Text));
            else terminal.Output.WriteLine();
            if (reply.EvictedTokens > 0)
                terminal.Note($"{reply.EvictedTokens} tokens have left the window of {rule.Capacity} meanwhile (rule {rule})");
            if (reply.Reason == FinishReason.Length && reply.CompletionTokens < result.GetValue(maxTokens))
                terminal.Warn($"the reply ended at the bound of rule {rule}: use a policy that evicts (endless, streaming, window) to go on");
            return App.Success;
        });
        return command;
    }

    static async Task<GenerationResult> ReadAsync(Terminal terminal, Generation generation, bool echo, CancellationToken cancellation)
    {
        using (cancellation.Register(generation.Cancel))
        {
            await foreach (GeneratedToken token in generation.Tokens.ReadAllAsync(CancellationToken.None))
            {
                if (!echo || token.Text.Length == 0) continue;
                terminal.Output.Write(token.Text);
                terminal.Output.Flush();
            }
        }

        GenerationResult reply = await generation.Completion;
        cancellation.ThrowIfCancellationRequested();
        return reply;
    }

    /// <summary>The text as a user's only message, and how many of the tokens are the template's own beginning, which become the sinks.</summary>
    static (int[] Ids, int SystemTokens) ChatPrompt(DecoderModel model, string text)
    {
        if (model.Template is null)
            throw new LongCtxException(ErrorCode.InvalidRequest, $"model {model.Name} has no chat template: continue the text itself with --raw", "raw");
        string rendered = model.Template.Render([new("user", text)], true, model.BosText, model.EosText);
        string other = model.Template.Render([new("user", text + "?"), new("assistant", ""), new("user", "")], true, model.BosText, model.EosText);
        _ = other;
        return (model.Tokenizer.Encode(rendered), 0);
    }
}
