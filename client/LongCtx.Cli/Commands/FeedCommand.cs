using System.CommandLine;
using System.Security.Cryptography;
using LongCtx.Cli.Options;
using LongCtx.Client;

namespace LongCtx.Cli.Commands;

internal static class FeedCommand
{
    const string Roles = "user, system, developer or assistant";

    sealed record Report(string Conversation, string Producer, long Pieces, long NewPieces, long Bytes, long Seq);

    public static Command Create(Terminal terminal)
    {
        var server = new ServerChoice();
        var file = new Argument<string>("FILE") { Description = "A text of any length, UTF-8; - is standard input." };
        var conversation = new Option<string>("--conversation") { Description = "Where it goes: an id, or 'new'.", HelpName = "ID", Required = true };
        var producer = new Option<string?>("--producer")
        {
            Description = "Name under which it is fed: feeding it again under the same name goes on where it broke off. Unset: made from the file's content.", HelpName = "NAME",
        };
        var role = new Option<string>("--role") { Description = $"Whose words they are: {Roles}.", HelpName = "ROLE", DefaultValueFactory = _ => "user" };
        Option<bool> json = Common.Json();
        var command = new Command("feed", "Adds a text of any length to a conversation, without asking for a reply. Each piece is stored before the next is sent.")
        {
            file, conversation, producer, role, json,
        };
        server.AddTo(command);
        command.SetAction(async (result, cancellation) =>
        {
            string path = result.GetValue(file)!, who = result.GetValue(role)!;
            if (who is not ("user" or "system" or "developer" or "assistant"))
                throw new LongCtxException(ErrorCode.InvalidRequest, $"--role '{who}' is not possible: give {Roles}", "role");
            await using Stream text = path == "-" ? Console.OpenStandardInput() : TextFile.Open(path);
            string name = result.GetValue(producer) ?? (path == "-" ? Guid.CreateVersion7().ToString() : await NameOfAsync(text, cancellation));
            string id = await ChatCommand.FindAsync(terminal, server.Client(result), result.GetValue(conversation)!, new(null), cancellation);

            Report report = new(id, name, 0, 0, 0, 0);
            try
            {
                await foreach (FedPiece piece in server.PatientClient(result).FeedAsync(id, text, name, who, cancellation))
                    report = report with { Pieces = piece.Number, NewPieces = report.NewPieces + (piece.IsNew ? 1 : 0), Bytes = piece.Bytes, Seq = piece.Seq };
            }
            catch (LongCtxException e) when (report.Bytes > 0)
            {
                throw new LongCtxException(e.Code,
                    $"{e.Message.TrimEnd('.')}. The first {report.Bytes} bytes are stored in {id}: feed it again with --conversation {id} --producer {name}, and it goes on behind them.", e.Parameter, e);
            }
            if (report.Pieces == 0) throw new LongCtxException(ErrorCode.InvalidRequest, $"'{path}' is empty: there is nothing to feed");
            if (result.GetValue(json)) terminal.WriteJson(report);
            else terminal.Print($"{report.Bytes} bytes in {report.Pieces} pieces, {report.NewPieces} of them new; stored up to event {report.Seq}");
            return App.Success;
        });
        return command;
    }

    /// <summary>The same text is the same producer.</summary>
    static async ValueTask<string> NameOfAsync(Stream text, CancellationToken cancellation)
    {
        const int Digits = 32;
        string hash = Convert.ToHexStringLower(await SHA256.HashDataAsync(text, cancellation));
        text.Position = 0;
        return "text-" + hash[..Digits];
    }
}
