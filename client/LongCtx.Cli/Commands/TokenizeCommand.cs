using System.CommandLine;
using LongCtx.Cli.Options;

namespace LongCtx.Cli.Commands;

internal static class TokenizeCommand
{
    sealed record Report(int[] Ids);

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        var text = new Option<string?>("--text") { Description = "The text itself.", HelpName = "T" };
        var file = new Option<string?>("--file") { Description = "A file with the text, UTF-8.", HelpName = "F" };
        Option<bool> json = Common.Json();
        var command = new Command("tokenize", "Token ids of a text: no template, nothing added.") { model, text, file, json };
        command.RequireOne(text, file);
        command.SetAction(result =>
        {
            string content = result.GetValue(text) ?? TextFile.Read(result.GetValue(file)!);
            int[] ids = ModelFiles.OpenTokenizer(result.GetValue(model)!).Encode(content);
            if (result.GetValue(json)) terminal.WriteJson(new Report(ids));
            else terminal.Output.WriteLine(string.Join(' ', ids));
            return App.Success;
        });
        return command;
    }
}
