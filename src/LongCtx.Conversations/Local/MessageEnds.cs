using System.Globalization;

namespace LongCtx.Conversations.Local;

/// <summary>
/// Where each message of a rendered chat ends: there, where the rendering of the chat up to it ends, if that is a beginning of the whole.
/// </summary>
/// <remarks>
/// Rendering every beginning costs the square of the chat's length, so in a long chat only one message of each pair of neighbouring roles is
/// looked at in this way. Its opening (the text between the end before it and its content) is then recognised in front of the contents of
/// the others, which one rendering with a mark in front of each content shows.
/// </remarks>
/// <param name="format">Renders.</param>
/// <param name="chat">The messages.</param>
/// <param name="text">Their rendering, the opening of the reply included.</param>
/// <param name="sentinel">A word that <paramref name="chat"/> does not contain.</param>
internal sealed class MessageEnds(ChatFormat format, IReadOnlyList<ChatMessage> chat, string text, string sentinel)
{
    /// <summary>So few are simply rendered.</summary>
    const int ShortChat = 8;

    /// <summary>A template in which marks do not show costs no more renderings than this; the other ends stay unknown.</summary>
    const int RenderingsMax = 64;

    readonly int?[] _ends = new int?[chat.Count + 1];
    readonly bool[] _known = new bool[chat.Count + 1];
    readonly Dictionary<(string Before, string Role), string> _openings = [];
    int[]? _contentStarts;
    int _renderings;

    /// <summary>Characters of the first <paramref name="count"/> messages; null where the template does not let them end anywhere.</summary>
    public int? this[int count]
    {
        get
        {
            if (!_known[count]) (_known[count], _ends[count]) = (true, count == 0 ? 0 : Recognised(count) ?? Rendered(count));
            return _ends[count];
        }
    }

    int? Rendered(int count)
    {
        if (_renderings++ >= RenderingsMax && count < chat.Count) return null;
        if (format.TryRender(chat.Take(count), false) is not { } part || !text.StartsWith(part, StringComparison.Ordinal)) return null;
        if (count < chat.Count && ContentStart(count) is { } content && content >= part.Length)
            _openings[(chat[count - 1].Role, chat[count].Role)] = text[part.Length..content];
        return part.Length;
    }

    int? Recognised(int count)
    {
        if (count == chat.Count || !_openings.TryGetValue((chat[count - 1].Role, chat[count].Role), out string? opening)) return null;
        int end = ContentStart(count)!.Value - opening.Length;
        return end >= 0 && text.AsSpan(end).StartsWith(opening) ? end : null;
    }

    /// <summary>Where the content of a message begins in the text; null in a short chat and where marks do not show it.</summary>
    int? ContentStart(int message)
    {
        if (chat.Count <= ShortChat) return null;
        _contentStarts ??= FindContentStarts(content => content) ?? FindContentStarts(content => content.TrimStart()) ?? [];
        return _contentStarts.Length == 0 ? null : _contentStarts[message];
    }

    int[]? FindContentStarts(Func<string, string> asRendered)
    {
        string[] marks = [.. chat.Select((_, i) => string.Create(CultureInfo.InvariantCulture, $"{sentinel}{i}."))];
        if (format.TryRender(chat.Select((m, i) => m with { Content = marks[i] + asRendered(m.Content) }), true) is not { } marked) return null;
        var starts = new int[chat.Count];
        int from = 0, length = 0;
        for (int i = 0; i < marks.Length; i++)
        {
            int at = marked.IndexOf(marks[i], from, StringComparison.Ordinal);
            if (at < 0 || length + (at - from) > text.Length || !text.AsSpan(length).StartsWith(marked.AsSpan(from, at - from))) return null;
            length += at - from;
            starts[i] = length;
            from = at + marks[i].Length;
        }
        return text.AsSpan(length).SequenceEqual(marked.AsSpan(from)) ? starts : null;
    }
}
