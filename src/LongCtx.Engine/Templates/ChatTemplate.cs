namespace LongCtx.Engine.Templates;

/// <summary>
/// A model's chat template: the subset of Jinja that published templates use, with the settings they are written for. Immutable, safe
/// for use from many threads. A template that is malformed, refuses its messages or asks for too much gives a <see cref="ChatTemplateException"/>.
/// </summary>
public sealed class ChatTemplate
{
    /// <summary>Characters; the longest published templates have about 20,000.</summary>
    const int SourceMax = 1 << 20;

    readonly IReadOnlyList<Statement> _statements;
    readonly TimeProvider _clock;

    ChatTemplate(string source, IReadOnlyList<Statement> statements, TimeProvider clock) => (Source, _statements, _clock) = (source, statements, clock);

    public string Source { get; }

    /// <param name="source">Text of the template.</param>
    /// <param name="clock">For strftime_now; the system's unless given.</param>
    public static ChatTemplate Parse(string source, TimeProvider? clock = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (source.Length > SourceMax) throw new ChatTemplateException($"has more than {SourceMax} characters", 0);
        return new ChatTemplate(source, Parser.Parse(source), clock ?? TimeProvider.System);
    }

    /// <param name="messages">The chat, oldest first.</param>
    /// <param name="addGenerationPrompt">Whether the text ends where the assistant's reply begins.</param>
    /// <param name="bos">Text of the token that begins a stream; empty without one.</param>
    /// <param name="eos">Text of the token that ends one.</param>
    /// <param name="variables">Further variables: strings, numbers, booleans, null, lists and dictionaries of these, JsonElement.</param>
    public string Render(
        IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt, string bos, string eos, IReadOnlyDictionary<string, object?>? variables = null)
    {
        ArgumentNullException.ThrowIfNull(messages);
        Dictionary<string, object?> context = new(variables ?? new Dictionary<string, object?>())
        {
            ["messages"] = messages,
            ["add_generation_prompt"] = addGenerationPrompt,
            ["bos_token"] = bos,
            ["eos_token"] = eos,
        };
        return Render(context, messages.Sum(m => (long)m.Role.Length + m.Content.Length));
    }

    /// <summary>Renders with exactly these variables.</summary>
    internal string Render(IReadOnlyDictionary<string, object?> variables, long inputLength = 0) =>
        Interpreter.Render(_statements, variables, _clock, inputLength);
}
