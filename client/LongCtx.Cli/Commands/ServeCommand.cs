using System.CommandLine;
using LongCtx.Server;

namespace LongCtx.Cli.Commands;

/// <summary>The server project under the same roof: its own reader takes the options, so that both understand exactly the same.</summary>
internal static class ServeCommand
{
    public const string Name = "serve";

    /// <summary>Only to be listed: <see cref="RunAsync"/> takes the arguments before they are parsed.</summary>
    public static Command Create() => new(Name, "Serve OpenAI's API and a chat page; 'longctx serve --help' lists the options.");

    public static Task<int> RunAsync(Terminal terminal, IReadOnlyList<string> arguments) =>
        ServerProcess.RunAsync(arguments, LocalHost.OpenAsync, terminal.Output, terminal.Error, terminal.Interrupt.Program);
}
