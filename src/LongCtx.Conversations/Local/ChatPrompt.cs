namespace LongCtx.Conversations.Local;

/// <summary>What a chat prompt needs of a model: its template and its tokenizer.</summary>
/// <param name="Render">Messages to text, with or without the opening of the reply. Throws <see cref="LongCtxException"/> where the template refuses.</param>
/// <param name="Encode">Text to tokens; special tokens are recognised, none is added.</param>
/// <param name="BosText">Text of the token that begins a stream; empty where there is none.</param>
/// <param name="IsStable">Whether rendering more messages only appends text.</param>
internal sealed record ChatFormat(
    Func<IReadOnlyList<ChatMessage>, bool, string> Render, Func<string, EncodedText> Encode, string BosText, bool IsStable);

/// <summary>
/// A chat rendered with the model's own template, and the places at which its messages begin. A message begins where the rendering of
/// all messages before it ends, provided that this rendering is a beginning of the whole.
/// </summary>
internal sealed class ChatPrompt
{
    readonly ChatFormat _format;
    readonly IReadOnlyList<ChatMessage> _messages;
    readonly int?[] _ends;
    readonly bool[] _endKnown;
    int? _systemChars;

    /// <exception cref="LongCtxException">The template refuses the messages.</exception>
    public ChatPrompt(ChatFormat format, IReadOnlyList<ChatMessage> messages)
    {
        (_format, _messages) = (format, messages);
        Text = format.Render(messages, true);
        _ends = new int?[messages.Count + 1];
        _endKnown = new bool[messages.Count + 1];
    }

    /// <summary>The whole prompt, opening of the reply included.</summary>
    public string Text { get; }

    /// <summary>Tokens of BOS and system turn, which a sequence keeps for ever.</summary>
    public int SystemTokens => SystemChars == 0 ? 0 : _format.Encode(Text[..SystemChars]).Ids.Length;

    /// <summary>
    /// Characters of BOS and system turn, one that the template inserts by itself included: what the rendering up to the first other
    /// message has in front of that message. How the message alone looks is seen where the same message comes once more.
    /// </summary>
    public int SystemChars => _systemChars ??= FindSystemChars();

    /// <summary>The tokens behind the first messages; null where the template does not let them end anywhere.</summary>
    public PromptTail? From(int count)
    {
        if (count == 0) return Cut(Text, 0, "", 0, false, End);
        return _format.IsStable && End(count) is { } start ? Cut(Text, start, "", count, true, End) : null;
    }

    /// <summary>
    /// The tokens behind a generated reply, message <paramref name="count"/> - 1: the end of its text that is not covered yet, the closing of
    /// its turn and all that follows. Found by rendering the chat with a mark in place of the reply, so that neither the reply's tokens nor
    /// what a template does to its text (most trim it) matter. Null where the template does not show the reply as it was generated.
    /// </summary>
    public PromptTail? AfterReply(int count, string beyond)
    {
        if (!_format.IsStable) return null;
        var marked = _messages.ToArray();
        string sentinel = Sentinel();
        marked[count - 1] = marked[count - 1] with { Content = sentinel };
        if (TryRender(marked, true) is not { } whole) return null;
        int at = whole.IndexOf(sentinel, StringComparison.Ordinal);
        if (at < 0 || whole.IndexOf(sentinel, at + 1, StringComparison.Ordinal) >= 0) return null;
        if (TryRender(_messages.Take(count - 1), true) is not { } asked || !whole.AsSpan(0, at).StartsWith(asked)) return null;

        int start = at + sentinel.Length;
        return Cut(whole, start, beyond, count - 1, false, n =>
            TryRender(marked.Take(n), false) is { } part && part.Length >= start && whole.StartsWith(part, StringComparison.Ordinal) ? part.Length : null);
    }

    /// <summary>Tokenises the text from <paramref name="start"/> on and places the ends of the messages behind the first <paramref name="count"/>.</summary>
    PromptTail Cut(string whole, int start, string beyond, int count, bool beginsTurn, Func<int, int?> end)
    {
        var messageEnds = new List<(int Messages, int Chars)>();
        if (_format.IsStable)
            for (int n = count + 1; n <= _messages.Count; n++)
                if (end(n) is { } chars && chars >= start) messageEnds.Add((n, chars - start + beyond.Length));
        // A turn begins where the one before it ends, the reply to come included; the first one behind the system turn, be that given or inserted.
        var turnStarts = messageEnds.Select(e => e.Chars);
        if (start == 0) turnStarts = turnStarts.Append(SystemChars);
        else if (beginsTurn) turnStarts = turnStarts.Append(0);
        return PromptTail.Of(_format.Encode(beyond + whole[start..]), turnStarts, messageEnds);
    }

    int? End(int count)
    {
        if (!_endKnown[count])
        {
            _endKnown[count] = true;
            if (TryRender(_messages.Take(count), false) is { } part && Text.StartsWith(part, StringComparison.Ordinal)) _ends[count] = part.Length;
        }
        return _ends[count];
    }

    int FindSystemChars()
    {
        int bos = _format.BosText.Length > 0 && Text.StartsWith(_format.BosText, StringComparison.Ordinal) ? _format.BosText.Length : 0;
        int system = 0;
        while (system < _messages.Count && _messages[system].Role is "system" or "developer") system++;
        if (system == _messages.Count) return End(system) ?? bos;

        var probe = new ChatMessage(_messages[system].Role, Sentinel());
        var answer = new ChatMessage(probe.Role == "assistant" ? "user" : "assistant", Sentinel());
        ChatMessage[] once = [.. _messages.Take(system), probe];
        if (TryRender(once, false) is not { } first || TryRender([.. once, answer], false) is not { } answered
            || TryRender([.. once, answer, probe], false) is not { } again || !again.StartsWith(answered, StringComparison.Ordinal))
            return system > 0 ? End(system) ?? bos : bos;

        int shared = 0;
        while (shared < again.Length - answered.Length && shared < first.Length && again[^(shared + 1)] == first[^(shared + 1)]) shared++;
        int chars = first.Length - shared;
        return chars >= bos && Text.AsSpan().StartsWith(first.AsSpan(0, chars)) ? chars : bos;
    }

    string? TryRender(IEnumerable<ChatMessage> some, bool opensReply)
    {
        try
        {
            return _format.Render([.. some], opensReply);
        }
        catch (LongCtxException e) when (e.Code == ErrorCode.InvalidRequest)
        {
            return null; // some templates refuse a chat that stops in the middle
        }
    }

    /// <summary>A word that no message contains and no template changes.</summary>
    string Sentinel()
    {
        for (int i = 0; ; i++)
        {
            string word = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"zqreply{i}qz");
            if (!_messages.Any(m => m.Content.Contains(word, StringComparison.OrdinalIgnoreCase))) return word;
        }
    }
}
