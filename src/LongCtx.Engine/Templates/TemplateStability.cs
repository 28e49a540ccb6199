namespace LongCtx.Engine.Templates;

/// <summary>How a message's content comes out of a template.</summary>
public enum ContentForm
{
    Verbatim,

    /// <summary>Without the white space at its ends.</summary>
    Trimmed,

    /// <summary>Neither of the two, or not at all.</summary>
    Altered,
}

/// <summary>Whether a conversation can grow by appending tokens, instead of being rendered and computed anew each turn.</summary>
/// <param name="ContinuesPrompt">A prompt with its reply begins with that prompt: the reply's tokens already stand where they belong.</param>
/// <param name="AppendsTurns">A chat with one more turn begins with the chat before it.</param>
/// <param name="KeepsReasoning">The same holds for replies with &lt;think&gt; blocks, which some templates drop from older turns.</param>
/// <param name="Problem">What is unstable, for people; null when nothing is.</param>
public sealed record TemplateStability(
    bool ContinuesPrompt, bool AppendsTurns, bool KeepsReasoning, ContentForm UserContent, ContentForm AssistantContent, string? Problem)
{
    const string Content = "zwölf Boxer\njagen Viktor";

    // Chats that templates treat differently: with a system message and without, short and long, white space at the ends.
    static readonly ChatMessage[][] Chats =
    [
        [new("user", "Where is Ghent?"), new("assistant", "In Belgium."), new("user", "And Lund?"), new("assistant", "In Sweden."), new("user", "Thanks.")],
        [new("system", "Be brief."), new("user", "One\n\ntwo?"), new("assistant", "Three: \"4\" < 5 & {6}"), new("user", "  7  "), new("assistant", " 8\n"), new("user", "9")],
        [new("system", " "), new("user", "a"), new("assistant", "b"), new("user", "c")],
    ];

    static readonly ChatMessage[] Reasoning =
        [new("user", "2+2?"), new("assistant", "<think>\nsum\n</think>\n\n4"), new("user", "3+3?"), new("assistant", "<think>\nsum\n</think>\n\n6"), new("user", "Good.")];

    public static TemplateStability Check(ChatTemplate template, string bos, string eos)
    {
        string? problem = null;
        bool continues = true, appends = true, any = false;
        foreach (ChatMessage[] chat in Chats)
        {
            // A template may know no system role; then chats with one do not arise.
            if (Render(template, chat[..(chat[0].Role == "system" ? 2 : 1)], true, bos, eos) is null) continue;
            any = true;
            continues &= Holds(template, chat, bos, eos, afterUser: true, ref problem);
            appends &= Holds(template, chat, bos, eos, afterUser: false, ref problem);
        }
        if (!any)
            return new(false, false, false, ContentForm.Altered, ContentForm.Altered, "the template refuses a chat of one user message");

        string? ignored = null;
        bool reasoning = Holds(template, Reasoning, bos, eos, true, ref ignored) && Holds(template, Reasoning, bos, eos, false, ref ignored);
        ContentForm user = FormOf(c => Render(template, [new("user", c)], true, bos, eos));
        ContentForm assistant = FormOf(c => Render(template, [new("user", "q"), new("assistant", c)], false, bos, eos));
        return new(continues, appends, reasoning, user, assistant, problem);
    }

    /// <summary>Whether each prefix of the chat that ends with a user message (with the reply's beginning) or a reply is a prefix of the next longer rendering.</summary>
    static bool Holds(ChatTemplate template, ChatMessage[] chat, string bos, string eos, bool afterUser, ref string? problem)
    {
        for (int n = 1; n < chat.Length; n++)
        {
            if (chat[n - 1].Role != (afterUser ? "user" : "assistant")) continue;
            string? shorter = Render(template, chat[..n], afterUser, bos, eos), longer = Render(template, chat[..(n + 1)], !afterUser, bos, eos);
            if (shorter is not null && longer is not null && longer.StartsWith(shorter, StringComparison.Ordinal)) continue;
            problem ??= shorter is null || longer is null
                ? $"the template refuses a chat of {n + 1} messages"
                : $"a chat of {n + 1} messages does not begin like the same chat with {n}: it differs at \"{Difference(shorter, longer)}\"";
            return false;
        }
        return true;
    }

    static string Difference(string shorter, string longer)
    {
        int i = shorter.AsSpan().CommonPrefixLength(longer);
        return shorter[i..Math.Min(shorter.Length, i + 40)];
    }

    static ContentForm FormOf(Func<string, string?> render)
    {
        const string Padded = " \n" + Content + "\n  ";
        if (render(Padded) is not { } text) return ContentForm.Altered;
        if (text.Contains(Padded, StringComparison.Ordinal)) return ContentForm.Verbatim;
        // Trimmed, and not with only one end left as it was.
        return text.Contains(Content, StringComparison.Ordinal) && !text.Contains(Content + "\n  ", StringComparison.Ordinal)
            && !text.Contains(" \n" + Content, StringComparison.Ordinal) ? ContentForm.Trimmed : ContentForm.Altered;
    }

    static string? Render(ChatTemplate template, ChatMessage[] chat, bool prompt, string bos, string eos)
    {
        try
        {
            return template.Render(chat, prompt, bos, eos);
        }
        catch (ChatTemplateException)
        {
            return null;
        }
    }
}
