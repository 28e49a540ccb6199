using System.CommandLine;

namespace LongCtx.Cli.Commands;

internal static class EvalCommand
{
    public static Command Create(Terminal terminal) => new("eval", "Measure what a model does with a long text.")
    {
        EvalPerplexityCommand.Create(terminal),
        EvalPasskeyCommand.Create(terminal),
        EvalFreeCommand.Create(terminal),
        EvalTempLoraCommand.Create(terminal),
        EvalTempLoraCostCommand.Create(terminal),
    };
}
