namespace LongCtx.Engine.States;

/// <summary>A file with the state of a sequence that cannot be used, or not be written: which one and why. The sequence can be computed from its tokens instead.</summary>
public sealed class SequenceFileException(string file, string problem, Exception? inner = null) : Exception($"{file}: {problem}", inner)
{
    public string File { get; } = file;

    /// <summary>The message without the file.</summary>
    public string Problem { get; } = problem;
}
