namespace LongCtx.Engine.Templates;

/// <summary>A chat template cannot be read, or refuses the messages it was given.</summary>
/// <param name="message">What is wrong.</param>
/// <param name="line">Line of the template, from 1; 0 where it is the template as a whole.</param>
/// <param name="raised">Whether the template itself said so (raise_exception): then the messages are at fault, not the template.</param>
public sealed class ChatTemplateException(string message, int line, bool raised = false)
    : Exception(line > 0 ? $"Chat template, line {line}: {message}" : $"Chat template: {message}")
{
    public int Line { get; } = line;

    public bool Raised { get; } = raised;

    /// <summary>The message without place.</summary>
    public string Problem { get; } = message;
}
