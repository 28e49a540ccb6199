using System.CommandLine;
using LongCtx.Cli.Chat;
using LongCtx.Cli.Options;
using LongCtx.Conversations.Local;
using LongCtx.Server;

namespace LongCtx.Cli.Commands;

internal static class ChatCommand
{
    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        var system = new Option<string?>("--system") { Description = "The system message. Unset: what the model's template says by itself.", HelpName = "TEXT" };
        Option<int?> maxTokens = Value.OptionalInt("--max-tokens", "Most tokens of one reply. Unset: until the model ends it.", 1, int.MaxValue);
        var policy = new PolicyChoice();
        // Temperature and top-p as SmolLM2's model card advises for chat.
        var sampling = new SamplingChoice(temperature: 0.2f, topP: 0.9f, "Makes replies repeatable. Unset: another one each time.", () => (ulong)Random.Shared.NextInt64());
        Option<int> threads = Common.Threads();
        Option<bool> json = Common.Json();
        var command = new Command("chat", "Talk with a model for as long as you like. Ctrl+C stops a reply; /exit, Ctrl+D or Ctrl+C twice leave.")
        {
            model, system, maxTokens, threads, json,
        };
        policy.AddTo(command);
        sampling.AddTo(command);
        command.SetAction(async (result, cancellation) =>
        {
            await using LocalConversationHost host = await LocalHost.OpenAsync([result.GetValue(model)!], policy.Read(result), result.GetValue(threads));
            var chat = new ChatSession(host, sampling.Read(result), result.GetValue(maxTokens), result.GetValue(system));
            ChatLoop loop = new(terminal, chat, asJson: result.GetValue(json));
            return await loop.RunAsync(cancellation);
        });
        return command;
    }
}
