using Spectre.Console;

namespace LongCtx.Cli.Tests;

/// <summary>A terminal that is not one: what a command reads and writes is text. A command takes it for a real one where that is asked for.</summary>
internal sealed class TestTerminal : IDisposable
{
    readonly StringWriter _output = new(), _error = new();
    readonly TextWriter _writer;

    public TestTerminal(string input = "", bool isInteractive = false)
    {
        Interrupt = new();
        _writer = TextWriter.Synchronized(_output);
        Terminal = new(new StringReader(input), _writer, _error, Interrupt)
        {
            IsInteractive = isInteractive,
            Console = isInteractive ? AnsiConsole.Create(new() { Ansi = AnsiSupport.Yes, ColorSystem = ColorSystemSupport.Standard, Out = new AnsiConsoleOutput(_writer) }) : null,
        };
    }

    public Interrupt Interrupt { get; }

    public Terminal Terminal { get; }

    /// <summary>May be read while a command still writes: a synchronized writer locks itself.</summary>
    public string Output
    {
        get
        {
            lock (_writer) return _output.ToString();
        }
    }

    public string Error => _error.ToString();

    public void Dispose() => Interrupt.Dispose();
}
