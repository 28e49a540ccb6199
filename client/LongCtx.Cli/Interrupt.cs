namespace LongCtx.Cli;

/// <summary>
/// Ctrl+C. It ends the program, unless a command has taken it over for a while (a chat stops its reply instead).
/// </summary>
internal sealed class Interrupt : IDisposable
{
    readonly CancellationTokenSource _program = new();
    Action? _handler;

    /// <summary>Cancelled when the program is to end.</summary>
    public CancellationToken Program => _program.Token;

    /// <summary>The user pressed Ctrl+C.</summary>
    public void Raise()
    {
        if (Volatile.Read(ref _handler) is { } handler) handler();
        else Stop();
    }

    /// <summary>Ends the program whoever listens.</summary>
    public void Stop() => _program.Cancel();

    /// <summary>Until the result is disposed, Ctrl+C calls <paramref name="handler"/> instead of ending the program.</summary>
    public IDisposable Capture(Action handler) => new Scope(this, handler);

    public void Dispose() => _program.Dispose();

    sealed class Scope : IDisposable
    {
        readonly Interrupt _owner;
        readonly Action? _previous;

        public Scope(Interrupt owner, Action handler)
        {
            _owner = owner;
            _previous = Interlocked.Exchange(ref owner._handler, handler);
        }

        public void Dispose() => Volatile.Write(ref _owner._handler, _previous);
    }
}
