using System.CommandLine;
using System.CommandLine.Parsing;
using LongCtx.Cli.Commands;
using LongCtx.Engine.Files;
using LongCtx.Engine.Templates;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Cli;

/// <summary>The command tree and the one place where failures become exit codes.</summary>
internal static class App
{
    public const int Success = 0;
    public const int Failure = 1;

    /// <summary>The user's mistake: one line on stderr says what to do.</summary>
    public const int Misuse = 2;

    /// <summary>128 + SIGINT, as shells have it.</summary>
    public const int Interrupted = 130;

    public static async Task<int> RunAsync(IReadOnlyList<string> arguments, Terminal terminal)
    {
        if (arguments is [ServeCommand.Name, ..]) return await ServeCommand.RunAsync(terminal, [.. arguments.Skip(1)]);
        RootCommand root = CreateRoot(terminal);
        // A prompt may begin with '@': no response files.
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Errors.Count > 0 && parsed.Action is System.CommandLine.Invocation.ParseErrorAction)
        {
            string problem = parsed.UnmatchedTokens is [var unknown, ..] ? $"'{unknown}' is not known here" : parsed.Errors[0].Message.TrimEnd('.');
            return Fail(terminal, Misuse, $"{problem}. See '{NameOf(parsed.CommandResult)} --help'.");
        }

        var invocation = new InvocationConfiguration
        {
            Output = terminal.Output,
            Error = terminal.Error,
            EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = null, // Interrupt handles signals
        };
        try
        {
            return await parsed.InvokeAsync(invocation, terminal.Interrupt.Program);
        }
        catch (OperationCanceledException) when (terminal.Interrupt.Program.IsCancellationRequested)
        {
            return Interrupted;
        }
        catch (LongCtxException refusal)
        {
            return Fail(terminal, refusal.Code is ErrorCode.EngineFailure or ErrorCode.ShuttingDown ? Failure : Misuse, refusal.Message);
        }
        catch (Exception unusable) when (unusable is ModelFileException or TokenizerException or ChatTemplateException)
        {
            return Fail(terminal, Misuse, "the model cannot be used: " + unusable.Message);
        }
        catch (Exception failure)
        {
            return Fail(terminal, Failure, $"{failure.GetType().Name}: {failure.Message}");
        }
    }

    public static RootCommand CreateRoot(Terminal terminal) => new("Conversations with a language model that never have to end.")
    {
        ChatCommand.Create(terminal),
        ConversationsCommand.Create(terminal),
        AdapterCommand.Create(terminal),
        FeedCommand.Create(terminal),
        ServeCommand.Create(),
        GenerateCommand.Create(terminal),
        TokenizeCommand.Create(terminal),
        EmbedCommand.Create(terminal),
        ModelsCommand.Create(terminal),
        EvalCommand.Create(terminal),
        BenchCommand.Create(terminal),
    };

    static int Fail(Terminal terminal, int code, string message)
    {
        terminal.Error.WriteLine("longctx: " + message.ReplaceLineEndings(" "));
        return code;
    }

    static string NameOf(CommandResult? result)
    {
        var names = new Stack<string>();
        for (SymbolResult? r = result; r is CommandResult command; r = r.Parent)
            names.Push(command.Command is RootCommand ? "longctx" : command.Command.Name);
        return string.Join(' ', names);
    }
}
