namespace LongCtx.Cli.Tests;

/// <summary>A terminal that is not one: what a command reads and writes is text.</summary>
internal sealed class TestTerminal : IDisposable
{
    readonly StringWriter _output = new(), _error = new();

    public TestTerminal(string input = "")
    {
        Interrupt = new();
        Terminal = new(new StringReader(input), _output, _error, Interrupt);
    }

    public Interrupt Interrupt { get; }

    public Terminal Terminal { get; }

    public string Output => _output.ToString();

    public string Error => _error.ToString();

    public void Dispose() => Interrupt.Dispose();
}
