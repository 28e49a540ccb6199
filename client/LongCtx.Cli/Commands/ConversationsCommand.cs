using System.CommandLine;
using System.Globalization;
using LongCtx.Cli.Chat;
using LongCtx.Cli.Options;
using LongCtx.Client;

namespace LongCtx.Cli.Commands;

/// <summary>Conversations that a server keeps.</summary>
internal static class ConversationsCommand
{
    sealed record Listing(IReadOnlyList<ConversationInfo> Conversations);

    sealed record Shown(ConversationInfo Conversation, IReadOnlyList<SaidMessage> Messages);

    sealed record Exported(string Id, string Output, int Lines);

    sealed record Deleted(string Id, bool IsDeleted = true);

    public static Command Create(Terminal terminal) => new("conversations", "Lists, shows, exports, imports, forks and deletes the conversations of a server.")
    {
        List(terminal), Show(terminal), Export(terminal), Import(terminal), Fork(terminal), Delete(terminal),
    };

    static Command List(Terminal terminal) => Leaf("list", "All of them, newest first.", [], async (client, result, json, cancellation) =>
    {
        List<ConversationInfo> all = await client.ListConversationsAsync(cancellation: cancellation).ToListAsync(cancellation);
        if (json(result)) terminal.WriteJson(new Listing(all));
        else
        {
            terminal.Table(["id", "model", "created", "turns", "tokens", "labels"], all.Select(c => (string[])
            [
                c.Id, c.Model, DateOf(c.Created), Text.Of(c.Turns), Text.Of(c.Tokens), string.Join(", ", c.Metadata.Select(m => $"{m.Key}={m.Value}")),
            ]));
        }
        return App.Success;
    });

    static Command Show(Terminal terminal)
    {
        Argument<string> id = Id();
        return Leaf("show", "What was said.", [id], async (client, result, json, cancellation) =>
        {
            ConversationInfo info = await client.GetConversationAsync(result.GetValue(id)!, cancellation);
            IReadOnlyList<SaidMessage> messages = (await SaidMessages.ReadAsync(client.SubscribeAsync(info.Id, 0, cancellation), info.Seq, terminal.Warn)).All;
            if (json(result))
            {
                terminal.WriteJson(new Shown(info, messages));
                return App.Success;
            }
            string state = info.LiveTurn == 0 ? "" : $", turn {info.LiveTurn} is being answered";
            terminal.Output.WriteLine($"{info.Id} · {info.Model} · {DateOf(info.Created)} · {info.Turns} turns, {info.Tokens} tokens, event {info.Seq}{state}");
            foreach (SaidMessage message in messages) terminal.Output.WriteLine($"\n{message.Role}: {message.Content}");
            return App.Success;
        });
    }

    static Command Export(Terminal terminal)
    {
        Argument<string> id = Id();
        var file = new Option<string?>("--output") { Description = "Where to write it. Unset: standard output.", HelpName = "FILE" };
        return Leaf("export", "Writes one as lines of JSON, from which 'import' makes it again, here or elsewhere.", [id, file], async (client, result, json, cancellation) =>
        {
            string name = result.GetValue(id)!;
            if (result.GetValue(file) is not { } path)
            {
                await foreach (string line in client.ExportAsync(name, cancellation)) terminal.Output.WriteLine(line);
                return App.Success;
            }
            int lines = 0;
            string part = path + ".part"; // half an export must not look like a whole one
            await using (StreamWriter writer = TextFile.Create(part))
            {
                await foreach (string line in client.ExportAsync(name, cancellation))
                {
                    await writer.WriteAsync((line + "\n").AsMemory(), cancellation);
                    lines++;
                }
            }
            File.Move(part, path, overwrite: true);
            if (json(result)) terminal.WriteJson(new Exported(name, path, lines));
            else terminal.Print($"{lines} lines to {path}");
            return App.Success;
        });
    }

    static Command Import(Terminal terminal)
    {
        var file = new Argument<string>("FILE") { Description = "An export; - is standard input." };
        return Leaf("import", "A new conversation from an export.", [file], async (client, result, json, cancellation) =>
        {
            string path = result.GetValue(file)!;
            using TextReader? opened = path == "-" ? null : new StreamReader(TextFile.Open(path));
            WriteInfo(terminal, await client.ImportAsync(LinesAsync(opened ?? terminal.Input), cancellation), json(result));
            return App.Success;
        });
    }

    static Command Fork(Terminal terminal)
    {
        Argument<string> id = Id();
        Option<int?> at = Value.OptionalInt("--at", "The last event that the fork shares. Unset: the newest.", 1, int.MaxValue);
        return Leaf("fork", "A new conversation that begins as this one.", [id, at], async (client, result, json, cancellation) =>
        {
            WriteInfo(terminal, await client.ForkAsync(result.GetValue(id)!, result.GetValue(at), cancellation: cancellation), json(result));
            return App.Success;
        });
    }

    static Command Delete(Terminal terminal)
    {
        Argument<string> id = Id();
        return Leaf("delete", "Deletes one for good.", [id], async (client, result, json, cancellation) =>
        {
            string name = result.GetValue(id)!;
            await client.DeleteConversationAsync(name, cancellation);
            if (json(result)) terminal.WriteJson(new Deleted(name));
            else terminal.Output.WriteLine($"{name} is deleted");
            return App.Success;
        });
    }

    static Command Leaf(
        string name, string description, IEnumerable<Symbol> symbols, Func<LongCtxClient, ParseResult, Func<ParseResult, bool>, CancellationToken, Task<int>> run)
    {
        var server = new ServerChoice();
        Option<bool> json = Common.Json();
        var command = new Command(name, description) { json };
        foreach (Symbol symbol in symbols)
        {
            if (symbol is Argument argument) command.Add(argument);
            else command.Add((Option)symbol);
        }
        server.AddTo(command);
        command.SetAction((result, cancellation) => run(server.Client(result), result, r => r.GetValue(json), cancellation));
        return command;
    }

    static void WriteInfo(Terminal terminal, ConversationInfo info, bool asJson)
    {
        if (asJson) terminal.WriteJson(info);
        else terminal.Output.WriteLine(info.Id);
    }

    static async IAsyncEnumerable<string> LinesAsync(TextReader reader)
    {
        while (await reader.ReadLineAsync() is { } line) yield return line;
    }

    static Argument<string> Id() => new("ID") { Description = "The conversation, conv_..." };

    static string DateOf(long milliseconds) => DateTimeOffset.FromUnixTimeMilliseconds(milliseconds).ToString("yyyy-MM-dd HH:mm'Z'", CultureInfo.InvariantCulture);
}
