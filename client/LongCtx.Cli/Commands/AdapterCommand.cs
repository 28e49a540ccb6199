using System.CommandLine;
using LongCtx.Cli.Options;
using LongCtx.Client;

namespace LongCtx.Cli.Commands;

/// <summary>What a conversation on a server learns from its own text.</summary>
internal static class AdapterCommand
{
    sealed record Exported(string Id, string Output, int Version);

    public static Command Create(Terminal terminal) => new("adapter", "What a conversation learns from its own text: shows, sets, resets, disables and exports its temporary adapter.")
    {
        Show(terminal), Set(terminal), Reset(terminal), Disable(terminal), Export(terminal),
    };

    static Command Show(Terminal terminal) => Leaf(terminal, "show", "What it has learned, chunk by chunk, and what that gained.", [],
        (client, id, _, cancellation) => client.GetAdapterAsync(id, cancellation));

    static Command Set(Terminal terminal)
    {
        var adapter = new AdapterChoice();
        return Leaf(terminal, "set", "It learns from its own text from here on. What is not given is the default, also where it was something else before.", adapter.All,
            (client, id, result, cancellation) => client.ConfigureAdapterAsync(id, adapter.Read(result), cancellation));
    }

    static Command Reset(Terminal terminal) => Leaf(terminal, "reset", "Back to the base model; it learns again from what comes.", [],
        (client, id, _, cancellation) => client.ResetAdapterAsync(id, cancellation));

    static Command Disable(Terminal terminal) => Leaf(terminal, "disable", "Back to the base model, and it learns nothing more.", [],
        (client, id, _, cancellation) => client.DisableAdapterAsync(id, cancellation));

    static Command Export(Terminal terminal)
    {
        var directory = new Option<string>("--output") { Description = "Where to write it; made where it is not there.", HelpName = "DIR", Required = true };
        return Leaf("export", "Writes the version in use as a PEFT directory.", [directory], async (client, id, result, isJson, cancellation) =>
        {
            AdapterExport export = await client.ExportAdapterAsync(id, cancellation);
            string path = result.GetValue(directory)!;
            await AdapterDirectory.WriteAsync(path, export, cancellation);
            if (isJson) terminal.WriteJson(new Exported(id, path, export.Version));
            else terminal.Print($"version {export.Version} to {path}");
        });
    }

    /// <summary>A command whose result is the adapter after it.</summary>
    static Command Leaf(
        Terminal terminal, string name, string description, IEnumerable<Option> options, Func<LongCtxClient, string, ParseResult, CancellationToken, Task<AdapterInfo>> run) =>
        Leaf(name, description, options, async (client, id, result, isJson, cancellation) =>
        {
            AdapterInfo info = await run(client, id, result, cancellation);
            if (isJson)
            {
                terminal.WriteJson(info);
                return;
            }
            terminal.Output.WriteLine($"{id} {AdapterText.Summary(info)}");
            if (info.Settings is { } settings) terminal.Output.WriteLine(AdapterText.Settings(settings));
            if (info.History.Count > 0) terminal.Table(AdapterText.Header, info.History.Select(AdapterText.Row));
        });

    static Command Leaf(
        string name, string description, IEnumerable<Option> options, Func<LongCtxClient, string, ParseResult, bool, CancellationToken, Task> run)
    {
        var server = new ServerChoice();
        var id = new Argument<string>("ID") { Description = "The conversation, conv_..." };
        Option<bool> json = Common.Json();
        var command = new Command(name, description) { id, json };
        foreach (Option option in options) command.Add(option);
        server.AddTo(command);
        command.SetAction(async (result, cancellation) =>
        {
            await run(server.Client(result), result.GetValue(id)!, result, result.GetValue(json), cancellation);
            return App.Success;
        });
        return command;
    }
}
