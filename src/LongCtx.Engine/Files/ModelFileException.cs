namespace LongCtx.Engine.Files;

/// <summary>A model file, or a file beside it, that cannot be used: which one, where in it, what is wrong and what to do.</summary>
public sealed class ModelFileException(string file, long offset, string problem, Exception? inner = null)
    : Exception($"{file}, byte {offset}: {problem}", inner)
{
    public string File { get; } = file;

    /// <summary>Byte in <see cref="File"/> at which the problem was found; 0 when it concerns the file as a whole.</summary>
    public long Offset { get; } = offset;

    /// <summary>The message without file and offset.</summary>
    public string Problem { get; } = problem;
}
