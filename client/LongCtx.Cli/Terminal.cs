using System.Text.Json;
using Spectre.Console;

namespace LongCtx.Cli;

/// <summary>What a command reads from and writes to. Spectre.Console draws only where a person looks: on a terminal.</summary>
internal sealed class Terminal(TextReader input, TextWriter output, TextWriter error, Interrupt interrupt)
{
    public TextReader Input { get; } = input;

    public TextWriter Output { get; } = output;

    public TextWriter Error { get; } = error;

    public Interrupt Interrupt { get; } = interrupt;

    /// <summary>Messages are typed by a person, not piped.</summary>
    public bool IsInteractive { get; init; }

    /// <summary>Draws on standard output; null when that is a file or a pipe.</summary>
    public IAnsiConsole? Console { get; init; }

    /// <summary>Draws on standard error, so that progress never mixes with results; null when that is a file or a pipe.</summary>
    public IAnsiConsole? ErrorConsole { get; init; }

    public static Terminal OfProcess(Interrupt interrupt)
    {
        bool output = !System.Console.IsOutputRedirected, error = !System.Console.IsErrorRedirected;
        return new(System.Console.In, System.Console.Out, System.Console.Error, interrupt)
        {
            IsInteractive = output && !System.Console.IsInputRedirected,
            Console = output ? AnsiConsole.Console : null,
            ErrorConsole = error ? AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(System.Console.Error) }) : null,
        };
    }

    public void WriteJson<T>(T value) => Output.WriteLine(JsonSerializer.Serialize(value, Json.Options));

    public void Print(FormattableString line) => Output.WriteLine(FormattableString.Invariant(line));

    /// <summary>Columns for people: framed on a terminal, tab-separated elsewhere.</summary>
    public void Table(IReadOnlyList<string> header, IEnumerable<string[]> rows)
    {
        if (Console is null)
        {
            Output.WriteLine(string.Join('\t', header));
            foreach (string[] row in rows) Output.WriteLine(string.Join('\t', row));
            return;
        }

        var table = new Table().SimpleBorder();
        foreach (string title in header) table.AddColumn(new TableColumn(Markup.Escape(title)) { NoWrap = true, Padding = new Padding(0, 0, 1, 0) });
        foreach (string[] row in rows) table.AddRow([.. row.Select(Markup.Escape)]);
        Console.Write(table);
    }

    /// <summary>Something worth knowing that is not a result.</summary>
    public void Note(string message) => Error.WriteLine("longctx: " + message);

    public void Warn(string message) => Error.WriteLine("longctx: warning: " + message);

    /// <summary>Runs <paramref name="work"/> off the caller's thread, with a bar on a terminal. The work reports how much of <paramref name="total"/> is done.</summary>
    public async Task<T> WithProgressAsync<T>(string title, long total, Func<Action<long>, T> work)
    {
        if (ErrorConsole is null) return await Task.Run(() => work(_ => { }));
        return await ErrorConsole.Progress().AutoClear(true)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .StartAsync(context =>
            {
                ProgressTask task = context.AddTask(Markup.Escape(title), maxValue: Math.Max(1, total));
                return Task.Run(() => work(done => task.Value = done));
            });
    }
}
