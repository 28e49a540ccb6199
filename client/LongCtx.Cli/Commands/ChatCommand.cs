using System.CommandLine;
using LongCtx.Cli.Chat;
using LongCtx.Cli.Options;
using LongCtx.Client;
using LongCtx.Conversations.Local;
using LongCtx.Server;

namespace LongCtx.Cli.Commands;

internal static class ChatCommand
{
    const string New = "new";

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        Option<string?> adapter = Common.Adapter();
        var system = new Option<string?>("--system") { Description = "The system message. Unset: what the model's template says by itself.", HelpName = "TEXT" };
        Option<int?> maxTokens = Value.OptionalInt("--max-tokens", "Most tokens of one reply. Unset: until the model ends it.", 1, int.MaxValue);
        var policy = new PolicyChoice();
        // Temperature and top-p as SmolLM2's model card advises for chat.
        var sampling = new SamplingChoice(temperature: 0.2f, topP: 0.9f, "Makes replies repeatable. Unset: another one each time.", () => (ulong)Random.Shared.NextInt64());
        Option<int> threads = Common.Threads();
        var conversation = new Option<string?>("--conversation")
        {
            Description = "A conversation that a server keeps: its id continues it, 'new' makes one. Unset: the chat lives in this process alone.", HelpName = "ID",
        };
        var adapt = new Option<bool>("--adapt") { Description = "A new conversation on a server, as with --conversation new, that learns from its own text; 'longctx adapter' says how." };
        var server = new ServerChoice();
        Option<bool> json = Common.Json();
        var command = new Command("chat", "Talk with a model for as long as you like. Ctrl+C stops a reply; /exit, Ctrl+D or Ctrl+C twice leave.")
        {
            model, adapter, system, maxTokens, threads, conversation, adapt, json,
        };
        policy.AddTo(command);
        sampling.AddTo(command);
        server.AddTo(command);
        command.Validators.Add(result =>
        {
            if (Asked(result.GetValue(conversation), result.GetValue(adapt)) is not { } asked)
            {
                if (server.IsGiven(result)) result.AddError("--server and --api-key need --conversation or --adapt: without them, the chat needs no server");
                return;
            }
            if (policy.IsGiven(result) || Common.IsGiven(result, threads) || Common.IsGiven(result, adapter)) result.AddError("--policy, --capacity, --rule, --threads and --adapter are the server's to choose: they have no meaning with a conversation that it keeps");
            if (asked == New) return;
            if (result.GetValue(adapt)) result.AddError("--adapt is for a new conversation: for one that is there, use 'longctx adapter set ID'");
            if (Common.IsGiven(result, model) || Common.IsGiven(result, system))
                result.AddError("--model and --system are for a new conversation: this one has its own");
        });
        command.SetAction(async (result, cancellation) =>
        {
            if (Asked(result.GetValue(conversation), result.GetValue(adapt)) is { } asked)
            {
                string? name = result.IsGiven(model) ? result.GetValue(model) : null;
                CreateConversation made = new(name) { Messages = result.GetValue(system) is { } first ? [new("system", first)] : [], Adapter = result.GetValue(adapt) ? new() : null };
                string id = await FindAsync(terminal, server.Client(result), asked, made, cancellation);
                Action<string> warn = terminal.IsInteractive && !result.GetValue(json) ? terminal.Warn : _ => { }; // what was said before is shown to a person only
                StoredChat stored = new(server.PatientClient(result), id, sampling.Read(result), result.GetValue(maxTokens), warn);
                return await new ChatLoop(terminal, stored, asJson: result.GetValue(json)).RunAsync(cancellation);
            }
            await using LocalConversationHost host = await LocalHost.OpenAsync([result.GetValue(model)!], new() { Policy = policy.Read(result) }, result.GetValue(threads));
            string? adapted = result.GetValue(adapter) is { } directory ? (await host.LoadAdapterAsync(new("adapter", directory), cancellation)).Id : null;
            var chat = new ChatSession(host, sampling.Read(result), result.GetValue(maxTokens), result.GetValue(system)) { Model = adapted };
            ChatLoop loop = new(terminal, chat, asJson: result.GetValue(json));
            return await loop.RunAsync(cancellation);
        });
        return command;
    }

    /// <summary>The conversation of a server that is meant; null for none.</summary>
    static string? Asked(string? conversation, bool adapt) => conversation ?? (adapt ? New : null);

    /// <summary>The conversation that is there, or a new one, whose id is told.</summary>
    public static async Task<string> FindAsync(Terminal terminal, LongCtxClient client, string conversation, CreateConversation made, CancellationToken cancellation)
    {
        if (conversation != New) return (await client.GetConversationAsync(conversation, cancellation)).Id;
        string id = (await client.CreateConversationAsync(made, cancellation)).Id;
        terminal.Note($"this is {id}");
        return id;
    }
}
