using System.Globalization;

namespace LongCtx.Conversations.Local;

/// <summary>A chat rendered with the model's own template, and the tokens of any part of it that begins behind a message.</summary>
internal sealed class ChatPrompt
{
    readonly ChatFormat _format;
    readonly IReadOnlyList<ChatMessage> _messages;
    readonly bool _opensReply;
    readonly string _sentinel;
    readonly MessageEnds _ends;
    int? _systemChars;

    /// <exception cref="LongCtxException">The template refuses the messages.</exception>
    public ChatPrompt(ChatFormat format, IReadOnlyList<ChatMessage> messages, bool opensReply = true)
    {
        (_format, _messages, _opensReply) = (format, messages, opensReply);
        Text = format.Render(messages, opensReply);
        _sentinel = Sentinel(messages);
        _ends = new(format, messages, Text, _sentinel);
    }

    /// <summary>The whole prompt, the opening of the reply included where one follows.</summary>
    public string Text { get; }

    /// <summary>Tokens of BOS and system turn, which a sequence keeps for ever.</summary>
    public int SystemTokens => SystemChars == 0 ? 0 : _format.Encode(Text[..SystemChars]).Ids.Length;

    /// <summary>Characters of BOS and system turn; a system turn that the template inserts by itself counts too.</summary>
    public int SystemChars => _systemChars ??= FindSystemChars();

    /// <summary>The tokens behind the first messages; null where the template does not let them end anywhere.</summary>
    public PromptTail? From(int count)
    {
        if (count == 0) return Cut(Text, 0, "", 0, SystemChars, _ends);
        return _format.IsStable && _ends[count] is { } start ? Cut(Text, start, "", count, start, _ends) : null;
    }

    /// <summary>
    /// The tokens behind a generated reply, message <paramref name="count"/> - 1: the end of its text that is not covered yet, the closing of
    /// its turn and all that follows. Found by rendering the chat with a mark in place of the reply, so that neither the reply's tokens nor
    /// what a template does to its text (many trim it) matter. Null where the template does not show the reply where it was generated.
    /// </summary>
    public PromptTail? AfterReply(int count, string beyond)
    {
        if (!_format.IsStable) return null;
        var marked = _messages.ToArray();
        marked[count - 1] = marked[count - 1] with { Content = _sentinel };
        if (_format.TryRender(marked, _opensReply) is not { } whole) return null;
        int at = whole.IndexOf(_sentinel, StringComparison.Ordinal);
        if (at < 0 || whole.IndexOf(_sentinel, at + 1, StringComparison.Ordinal) >= 0) return null;
        if (_format.TryRender(_messages.Take(count - 1), true) is not { } asked || !whole.AsSpan(0, at).StartsWith(asked)) return null;
        return Cut(whole, at + _sentinel.Length, beyond, count - 1, null, new(_format, marked, whole, _sentinel + "m"));
    }

    /// <summary>Tokenises the text from <paramref name="start"/> on and places the turns behind the first <paramref name="count"/> messages.</summary>
    /// <param name="turnStart">A turn that begins here, beside those that begin where a message ends; the reply to come is one of these.</param>
    PromptTail Cut(string whole, int start, string beyond, int count, int? turnStart, MessageEnds ends)
    {
        int Offset(int chars) => chars - start + beyond.Length;
        var messageEnds = new List<(int Messages, int Chars)>();
        if (_format.IsStable)
            for (int n = count + 1; n <= _messages.Count; n++)
                if (ends[n] is { } chars && chars >= start) messageEnds.Add((n, Offset(chars)));
        var turnStarts = messageEnds.Select(e => e.Chars);
        return PromptTail.Of(_format.Encode(beyond + whole[start..]), turnStart is { } turn ? turnStarts.Append(Offset(turn)) : turnStarts, messageEnds);
    }

    /// <summary>
    /// What the rendering up to the first message that is not the system's has in front of that message. How the message looks by itself
    /// is seen where the same one comes once more, later in the chat.
    /// </summary>
    int FindSystemChars()
    {
        int bos = _format.BosText.Length > 0 && Text.StartsWith(_format.BosText, StringComparison.Ordinal) ? _format.BosText.Length : 0;
        int system = 0;
        while (system < _messages.Count && _messages[system].Role is "system" or "developer") system++;
        if (system == _messages.Count) return _ends[system] ?? bos;

        var probe = new ChatMessage(_messages[system].Role, _sentinel);
        var answer = new ChatMessage(probe.Role == "assistant" ? "user" : "assistant", _sentinel);
        ChatMessage[] once = [.. _messages.Take(system), probe];
        if (_format.TryRender(once, false) is not { } first || _format.TryRender([.. once, answer], false) is not { } answered
            || _format.TryRender([.. once, answer, probe], false) is not { } again || !again.StartsWith(answered, StringComparison.Ordinal))
            return (system > 0 ? _ends[system] : null) ?? bos;

        int shared = 0;
        while (shared < again.Length - answered.Length && shared < first.Length && again[^(shared + 1)] == first[^(shared + 1)]) shared++;
        int chars = first.Length - shared;
        return chars >= bos && Text.AsSpan().StartsWith(first.AsSpan(0, chars)) ? chars : bos;
    }

    /// <summary>A word that no message contains and no template changes.</summary>
    static string Sentinel(IReadOnlyList<ChatMessage> messages)
    {
        for (int i = 0; ; i++)
        {
            string word = string.Create(CultureInfo.InvariantCulture, $"zqmark{i}qz");
            if (!messages.Any(m => m.Content.Contains(word, StringComparison.OrdinalIgnoreCase))) return word;
        }
    }
}
