using System.CommandLine;
using LongCtx.Cli.Options;
using LongCtx.Conversations.Local;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Cli.Commands;

internal static class GenerateCommand
{
    sealed record Report(IReadOnlyList<int> PromptIds, IReadOnlyList<int> Ids, string Text);

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        Option<string?> adapter = Common.Adapter();
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
            model, adapter, prompt, file, raw, maxTokens, ignoreEos, stop, threads, json,
        };
        sampling.AddTo(command);
        policy.AddTo(command);
        command.RequireOne(prompt, file);
        command.SetAction(async (result, cancellation) =>
        {
            string text = result.GetValue(prompt) ?? TextFile.Read(result.GetValue(file)!);
            await using var engine = new InferenceEngine(new EngineOptions { Threads = result.GetValue(threads) });
            DecoderModel loaded = await ModelFiles.LoadDecoderAsync(engine, result.GetValue(model)!);
            var decoder = new LocalDecoder(loaded, policy.Read(result));
            (PromptTail prepared, int systemTokens) = Prepare(decoder, text, result.GetValue(raw));
            if (prepared.Ids.Length == 0) throw new LongCtxException(ErrorCode.InvalidRequest, "the prompt is empty: give at least one character", "prompt");
            AttentionPolicy rule = decoder.PolicyFor(systemTokens);
            LoraWeights? weights = result.GetValue(adapter) is { } directory ? await loaded.ReadAdapterAsync(directory, cancellation) : null;
            Sequence sequence = engine.CreateSequence(loaded, rule, weights);
            Generation generation = engine.Submit(new GenerationRequest
            {
                Sequence = sequence,
                Tokens = prepared.Ids,
                TurnStarts = prepared.TurnStarts,
                Sampling = sampling.Read(result),
                MaxTokens = result.GetValue(maxTokens),
                StopTokens = result.GetValue(ignoreEos) ? new HashSet<int>() : loaded.StopTokens,
                StopTexts = result.GetValue(stop) ?? [],
            });
            bool asJson = result.GetValue(json);
            GenerationResult reply = await ReadAsync(terminal, generation, echo: !asJson, cancellation);
            if (asJson) terminal.WriteJson(new Report(prepared.Ids, reply.Ids, reply.Text));
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

    /// <summary>The prompt and its system tokens as a host would have them: the text as a user's only message, or the text itself.</summary>
    static (PromptTail Prompt, int SystemTokens) Prepare(LocalDecoder decoder, string text, bool raw)
    {
        if (raw) return (PromptTail.Raw(decoder.Raw(text)), 0);
        ChatPrompt chat = decoder.Chat([new("user", text)]);
        return (chat.From(0)!, chat.SystemTokens);
    }
}
