namespace LongCtx.Engine.Tokenization;

/// <summary>A tokenizer file or its metadata cannot be used: which file, where in it, what is wrong.</summary>
public sealed class TokenizerException(string file, string? location, string problem, Exception? inner = null)
    : Exception(location is null ? $"{file}: {problem}" : $"{file}: {location}: {problem}", inner)
{
    public string File { get; } = file;

    /// <summary>JSON path, metadata key, or "line N, byte M"; null where the whole file is meant.</summary>
    public string? Location { get; } = location;
}
